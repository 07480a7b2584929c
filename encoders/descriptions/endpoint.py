"""A language model behind any server that speaks OpenAI's chat completions. Called when it is called, never before."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from engine._validate import as_count, as_finite, as_json, show
from engine.exceptions import InvalidArgumentError, UnsupportedError

__all__ = ["Endpoint"]

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # what may go well a little later
LONGEST_WAIT_S = 60.0


class Endpoint:
    """Ask a language model over HTTP: ``Endpoint(...)("Describe a robin.")`` gives its answer.

    Parameters
    ----------
    base_url : str
        What stands before ``/chat/completions``: ``"http://localhost:8000/v1"`` of a server of your own, or a vendor's.
    model : str
        Its name there.
    api_key : str, optional
        Sent as a bearer token, to `base_url` alone: redirects are not followed. It is in no message, cache or store.
    system : str, optional
        A message before each prompt.
    temperature : float, default 0.7
    max_tokens : int, default 400
        Longest answer.
    timeout_s : float, default 60.0
        Of one try.
    n_retries : int, default 4
        Further tries after an error that may pass: no connection, no answer in time, status 429, 5xx and the like.
    wait_s : float, default 1.0
        Before the first retry; twice as long before each further one, or as long as the server says.
    extra : mapping, optional
        More fields of the request, such as ``{"seed": 1}``; they replace those above.

    Attributes
    ----------
    identity : str
        What decides the answers, for caches and provenance.
    n_calls, n_tokens_in, n_tokens_out : int
        Requests sent, and the tokens that the server counted.

    Raises
    ------
    InvalidArgumentError
        An argument that cannot be used; in a call, a request that the server refuses.
    UnsupportedError
        In a call: the server cannot be reached, or answers with errors until the last try.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        system: str | None = None,
        temperature: float = 0.7,
        max_tokens: int = 400,
        timeout_s: float = 60.0,
        n_retries: int = 4,
        wait_s: float = 1.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(base_url, str) or urllib.parse.urlsplit(base_url).scheme not in ("http", "https"):
            raise InvalidArgumentError(f"base_url is {show(base_url)}, expected one such as 'http://localhost:8000/v1'")
        if (parts := urllib.parse.urlsplit(base_url)).username or parts.query or not parts.hostname:
            raise InvalidArgumentError("base_url holds a name, a query or no host, expected a plain one, and api_key")
        if not isinstance(model, str) or not model:
            raise InvalidArgumentError(f"model is {show(model)}, expected its name on the server")
        if api_key is not None and (not isinstance(api_key, str) or not api_key.isascii() or not api_key.isprintable()):
            raise InvalidArgumentError("api_key is no printable ASCII text")
        if system is not None and not isinstance(system, str):
            raise InvalidArgumentError(f"system is {show(system)}, expected a str")
        self.url = base_url.rstrip("/") + "/chat/completions"
        messages = [] if system is None else [{"role": "system", "content": system}]
        self._body = {
            "model": model,
            "messages": messages,
            "temperature": as_finite(temperature, "temperature"),
            "max_tokens": as_count(max_tokens, "max_tokens"),
            **({} if extra is None else extra),
        }
        as_json(self._body, "extra")
        self._headers = {"Content-Type": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self.timeout_s, self.wait_s = as_finite(timeout_s, "timeout_s"), as_finite(wait_s, "wait_s")
        if self.timeout_s <= 0 or self.wait_s < 0:
            name, seconds = ("timeout_s", timeout_s) if self.timeout_s <= 0 else ("wait_s", wait_s)
            raise InvalidArgumentError(f"{name} is {seconds}, expected a time to wait")
        self.n_retries = 0 if n_retries == 0 else as_count(n_retries, "n_retries")
        self.identity = f"{self.url} {json.dumps(self._body, sort_keys=True)}"
        self.n_calls = self.n_tokens_in = self.n_tokens_out = 0

    def __repr__(self) -> str:
        return f"<Endpoint {self._body['model']} at {self.url}>"

    def __call__(self, prompt: str) -> str:
        """The answer to `prompt`; empty if the model gave none."""
        messages = [*self._body["messages"], {"role": "user", "content": prompt}]
        body = json.dumps({**self._body, "messages": messages}).encode()
        request = urllib.request.Request(self.url, body, self._headers)
        for attempt in range(self.n_retries + 1):
            self.n_calls += 1
            try:
                with OPENER.open(request, timeout=self.timeout_s) as response:
                    return self._answer(response.read())
            except urllib.error.HTTPError as error:
                said = error.read(2000).decode("utf-8", "replace")
                failure, asked_s = f"status {error.code}: {said}", retry_after(error.headers)
                if error.code not in AGAIN:
                    raise InvalidArgumentError(f"{self!r} refuses the request with {failure}") from None
            except (OSError, http.client.HTTPException) as error:
                failure, asked_s = repr(getattr(error, "reason", error)), None
            if attempt < self.n_retries:
                time.sleep(min(LONGEST_WAIT_S, self.wait_s * 2**attempt if asked_s is None else asked_s))
        raise UnsupportedError(f"{self!r} gave no answer in {self.n_retries + 1} tries; the last: {failure}")

    def _answer(self, body: bytes) -> str:
        try:
            data = json.loads(body)
            answer = data["choices"][0]["message"]["content"]
            usage = data.get("usage") or {}
            self.n_tokens_in += int(usage.get("prompt_tokens") or 0)
            self.n_tokens_out += int(usage.get("completion_tokens") or 0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise InvalidArgumentError(
                f"{self!r} answers with {show(body, 300)}, expected chat completions ({error!r})"
            ) from None
        return "" if answer is None else str(answer)


class Unredirected(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an error: a key is not to go elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


OPENER = urllib.request.build_opener(Unredirected)


def retry_after(headers: Any) -> float | None:
    """Seconds that the server asks to wait; None if it says nothing, or a date."""
    try:
        return max(0.0, float(headers.get("Retry-After")))
    except (TypeError, ValueError):
        return None
