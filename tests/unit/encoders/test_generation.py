"""Asking language models: never unasked, never twice, nothing lost; against a server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import sleep
from typing import Any

import pytest

import encoders
from encoders import descriptions as d
from engine.classify import DescriptionClassifier
from engine.exceptions import InvalidArgumentError, StorageError, UnsupportedError

ONE: Any = lambda name: [f"What is a {name}?"]  # noqa: E731


class Server(ThreadingHTTPServer):
    """Answers chat completions as `replies` say: a status with headers, or what `say` makes of the prompt."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.replies: list[tuple[int, dict[str, str], bytes]] = []
        self.say = lambda prompt: f"{prompt.removesuffix('?').split()[-1]} is a bird."

    def handle_error(self, *_: Any) -> None:
        """A client that did not wait is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked | {"path": self.path})
        self.server.headers.append(self.headers)
        if self.server.replies:
            status, headers, body = self.server.replies.pop(0)
        else:
            answer = {"message": {"role": "assistant", "content": self.server.say(asked["messages"][-1]["content"])}}
            usage = {"prompt_tokens": 7, "completion_tokens": 3}
            status, headers, body = 200, {}, json.dumps({"choices": [answer], "usage": usage}).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:  # what a followed redirect would become
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def endpoint(server: Server, **options: Any) -> d.Endpoint:
    return d.Endpoint(server.url, "tiny", **{"wait_s": 0.001, "timeout_s": 5, **options})


def test_nothing_is_asked_before_run(server: Server, tmp_path: Path) -> None:
    ask = endpoint(server)
    job = d.describe(["robin", "raven"], prompts=ONE)
    job.dry_run(ask, cache=tmp_path / "cache", price_in=1, price_out=1)
    job.write_requests(tmp_path / "requests")
    d.differentiate([("robin", "raven")])
    assert (server.asked, ask.n_calls) == ([], 0)


def test_from_names_to_a_classifier(server: Server) -> None:
    ask = endpoint(server, system="Be brief.", temperature=0.0, max_tokens=9, extra={"seed": 3})
    store = d.describe(["robin", "raven"], prompts=ONE).run(ask, progress=False)
    assert dict(store) == {"robin": ["robin is a bird."], "raven": ["raven is a bird."]}
    (source,) = store.sources("raven")
    assert source["prompt"] == "What is a raven?"
    assert source["model"] == ask.identity
    assert source["time"].endswith("+00:00")
    sent = server.asked[0]
    assert sent["path"] == "/v1/chat/completions"
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert [sent[name] for name in ("model", "temperature", "max_tokens", "seed")] == ["tiny", 0.0, 9, 3]
    assert (ask.n_calls, ask.n_tokens_in, ask.n_tokens_out) == (2, 14, 6)
    clf = DescriptionClassifier(encoders.get("hashing")).fit(store)
    assert clf.predict(["a raven"]).tolist() == ["raven"]


def test_an_answer_is_paid_for_once(server: Server, tmp_path: Path) -> None:
    cache, ask = tmp_path / "answers.jsonl", endpoint(server)
    job = d.describe(["robin", "raven"], prompts=ONE)
    first = job.run(ask, cache=cache, progress=False)
    more = d.describe(["robin", "raven", "rook"], prompts=ONE)
    estimate = more.dry_run(ask, cache=cache, max_tokens=100, price_in=2.0, price_out=10.0)
    assert estimate == d.Estimate(1, 2, 4, 100, pytest.approx((4 * 2 + 100 * 10) / 1e6))
    assert list(more.run(ask, cache=cache, progress=False)) == ["robin", "raven", "rook"]
    assert len(server.asked) == 3
    assert dict(job.run(ask, cache=cache, progress=False)) == dict(first)
    again = job.run(None, cache=cache, progress=False)  # asks nobody
    assert [again.sources(name) for name in again] == [first.sources(name) for name in first]
    assert len(server.asked) == 3
    job.run(endpoint(server, temperature=0.1), cache=cache, progress=False)  # another model, as far as we know
    assert len(server.asked) == 5


def test_several_answers_to_a_prompt(server: Server, tmp_path: Path) -> None:
    counted = iter(range(100))
    server.say = lambda prompt: f"It is number {next(counted)}."
    job = d.describe(["robin"], prompts=ONE, n_answers=2)
    assert sorted(job.run(endpoint(server), cache=tmp_path / "c", progress=False)["robin"]) == [
        "It is number 0.", "It is number 1.",
    ]  # fmt: skip
    three = d.describe(["robin"], prompts=ONE, n_answers=3)
    assert three.dry_run(endpoint(server), cache=tmp_path / "c").n_calls == 1
    assert len(three.run(endpoint(server), cache=tmp_path / "c", progress=False)["robin"]) == 3
    assert len(server.asked) == 3


def test_an_interrupted_run_goes_on(server: Server, tmp_path: Path) -> None:
    names = [f"bird{i}" for i in range(8)]
    job, cache = d.describe(names, prompts=ONE), tmp_path / "cache"

    def dies(prompt: str) -> str:
        if "bird5" in prompt:
            raise KeyboardInterrupt
        return "It is a bird."

    with pytest.raises(KeyboardInterrupt):
        job.run(dies, cache=cache, model="me", n_threads=1, progress=False)
    with open(cache, "ab") as file:
        file.write(b'{"prompt": "What is a bird5?", "ans')  # torn by a kill
    asked: list[str] = []
    with pytest.warns(UserWarning, match="1 lines of .* are no answers"):
        store = job.run(lambda prompt: asked.append(prompt) or "It is a bird.", cache=cache, model="me", progress=False)
    assert not store.missing(names)
    assert len(asked) <= 3
    assert "What is a bird5?" in asked
    with pytest.warns(UserWarning, match="1 lines"):
        assert job.dry_run(cache=cache, model="me").n_calls == 0


def test_answers_from_a_file(tmp_path: Path) -> None:
    job = d.describe(["robin", "raven"], prompts=ONE)
    job.write_requests(tmp_path / "requests.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert lines[1] == {"subject": "raven", "prompt": "What is a raven?"}
    (tmp_path / "answers.jsonl").write_text(json.dumps({"prompt": lines[1]["prompt"], "answer": "It is black."}) + "\n")
    with pytest.warns(UserWarning, match="1 of 2 answers gave no description"):
        store = job.run(None, cache=tmp_path / "answers.jsonl", progress=False)
    assert dict(store) == {"robin": [], "raven": ["It is black."]}
    assert [(entry.subject, entry.reason) for entry in store.unparsed] == [("robin", "was not answered")]


def test_an_answer_that_cannot_be_parsed_is_kept_word_for_word(tmp_path: Path) -> None:
    strange = "I'm sorry, Dave.\n\u2028 “Non”\x07\ud83d"
    job = d.describe(["robin", "raven"], prompts=ONE)
    with pytest.warns(
        UserWarning, match="1 of 2 answers gave no description and are in .unparsed; the first, on 'robin'"
    ):
        store = job.run(
            lambda p: strange if "robin" in p else "It is black.", cache=tmp_path / "c", model="m", progress=False
        )
    assert [(entry.answer, entry.prompt) for entry in store.unparsed] == [(strange, "What is a robin?")]
    store.to_json(tmp_path / "store.json")
    assert d.DescriptionStore.from_json(tmp_path / "store.json").unparsed == store.unparsed
    assert d.AnswerFile(tmp_path / "c").get("What is a robin?", "m")[0].answer == strange
    with pytest.raises(InvalidArgumentError, match=r"descriptions\['robin'\] is empty"):
        DescriptionClassifier(encoders.get("hashing")).fit(store)


def test_half_a_character_is_no_sentence(server: Server, tmp_path: Path) -> None:
    server.say = lambda prompt: "A bird \ud83d here."
    with pytest.warns(UserWarning, match="1 of 1 answers"):
        store = d.describe(["robin"], prompts=ONE).run(endpoint(server), cache=tmp_path / "c", progress=False)
    assert (dict(store), store.unparsed[0].answer) == ({"robin": []}, "A bird \ud83d here.")
    assert "written as UTF-8" in store.unparsed[0].reason


def test_pairs_are_asked_for(server: Server) -> None:
    server.say = lambda prompt: '[{"attribute": "bill", "first": "a crow is slim", "second": "a raven is heavy"}]'
    store = d.differentiate([("raven", "crow")]).run(endpoint(server), progress=False)
    assert store.get("crow", "raven") == (["a crow is slim"], ["a raven is heavy"])
    assert "the first is 'crow' and the second is 'raven'" in store.sources("crow", "raven")[0]["prompt"]
    server.say = lambda prompt: "Hm."
    with pytest.warns(UserWarning, match=r"on \('crow', 'raven'\)"):
        store = d.differentiate([("raven", "crow")]).run(endpoint(server), progress=False)
    assert store.missing(["crow", "raven"]) == [("crow", "raven")]
    assert store.unparsed[0].answer == "Hm."


@pytest.mark.parametrize(
    "reply", [(429, {"Retry-After": "0"}, b"slow down"), (503, {}, b""), (200, {"Content-Length": "99"}, b"cut")]
)
def test_what_may_pass_is_tried_again(server: Server, reply: Any) -> None:
    server.replies = [reply, reply]
    ask = endpoint(server, timeout_s=0.3)
    assert ask("What is a robin?") == "robin is a bird."
    assert ask.n_calls == 3


def test_a_server_that_stalls_is_asked_again(server: Server) -> None:
    late = iter([0.5, 0.0])
    server.say = lambda prompt: sleep(next(late)) or "It is a bird."  # type: ignore[func-returns-value]
    ask = endpoint(server, timeout_s=0.1)
    assert ask("What is a robin?") == "It is a bird."
    assert ask.n_calls == 2


def test_trying_ends(server: Server) -> None:
    server.replies = [(500, {}, b"on fire")] * 9
    with pytest.raises(UnsupportedError, match="no answer in 3 tries; the last: status 500: on fire"):
        endpoint(server, n_retries=2)("Hi?")
    assert len(server.asked) == 3
    nobody = d.Endpoint("http://127.0.0.1:9/v1", "tiny", n_retries=1, wait_s=0.0)
    with pytest.raises(UnsupportedError, match=r"no answer in 2 tries; the last: .*refused"):
        nobody("Hi?")


def test_a_refusal_is_not_tried_again_and_shows_no_key(server: Server) -> None:
    server.replies = [(401, {}, b"no such key")]
    ask = endpoint(server, api_key="s3cret")
    with pytest.raises(InvalidArgumentError, match="refuses the request with status 401: no such key") as error:
        ask("Hi?")
    assert server.headers[0]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in f"{error.value} {ask!r} {ask.identity}"
    assert len(server.asked) == 1


def test_a_redirect_gets_no_key(server: Server) -> None:
    server.replies = [(302, {"Location": f"{server.url}/elsewhere"}, b"")]
    with pytest.raises(InvalidArgumentError, match="status 302"):
        endpoint(server, api_key="s3cret")("Hi?")
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"choices": []}', b'{"error": "?"}', b"\xff"])
def test_a_server_of_another_kind_is_named(server: Server, body: bytes) -> None:
    server.replies = [(200, {}, body)]
    with pytest.raises(InvalidArgumentError, match="expected chat completions"):
        endpoint(server)("Hi?")


def test_an_answer_without_content_is_empty(server: Server) -> None:
    server.replies = [(200, {}, b'{"choices": [{"message": {"content": null}}]}')]
    with pytest.warns(UserWarning, match="answer is '', expected text"):
        store = d.describe(["robin"], prompts=ONE).run(endpoint(server), progress=False)
    assert store.missing(["robin"]) == ["robin"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: d.Endpoint("localhost:8000", "tiny"),
        lambda: d.Endpoint("file:///etc/passwd", "tiny"),
        lambda: d.Endpoint("http://localhost", ""),
        lambda: d.Endpoint("http://localhost", "tiny", temperature=float("nan")),
        lambda: d.Endpoint("http://localhost", "tiny", max_tokens=0),
        lambda: d.Endpoint("http://localhost", "tiny", timeout_s=0),
        lambda: d.Endpoint("http://localhost", "tiny", wait_s=-1),
        lambda: d.Endpoint("http://localhost", "tiny", n_retries=-1),
        lambda: d.Endpoint("http://localhost", "tiny", n_retries=None),  # type: ignore[arg-type]
        lambda: d.Endpoint("http://localhost", "tiny", system=5),  # type: ignore[arg-type]
        lambda: d.describe([]),
        lambda: d.describe(["a", "a"]),
        lambda: d.describe(["a"], prompts=lambda name: []),
        lambda: d.describe(["a"], n_answers=0),
        lambda: d.describe([None]),  # type: ignore[list-item]
        lambda: d.differentiate([("a", "a")]),
        lambda: d.differentiate([("a", "b", "c")]),  # type: ignore[list-item]
        lambda: d.describe(["a"]).run("gpt", progress=False),  # type: ignore[arg-type]
        lambda: d.describe(["a"]).run(len, cache="answers", progress=False),  # type: ignore[arg-type]
        lambda: d.describe(["a"]).run(lambda prompt: 5, progress=False),  # type: ignore[arg-type, return-value]
        lambda: d.describe(["a"]).run(None, model="", progress=False),
        lambda: d.describe(["a"]).dry_run(price_in=float("inf"), price_out=1.0),
    ],
)
def test_bad_arguments(make: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="expected"):
        make()


def test_an_api_key_that_no_header_can_hold_is_refused_unseen() -> None:
    with pytest.raises(InvalidArgumentError, match="api_key is no printable ASCII text") as error:
        d.Endpoint("http://localhost", "tiny", api_key="s3cret\r\nX: y")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("url", ["http://me:s3cret@localhost/v1", "http://localhost/v1?key=s3cret", "http:///v1"])
def test_keys_in_addresses_are_refused_unseen(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="base_url holds a name, a query or no host") as error:
        d.Endpoint(url, "tiny")
    assert "s3cret" not in str(error.value)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    job = d.describe(["a"], prompts=ONE)
    with pytest.raises(StorageError, match="cannot read answers"):
        job.run(None, cache=tmp_path, progress=False)
    with pytest.raises(StorageError, match="cannot keep an answer"):
        job.run(lambda prompt: "It is.", cache=tmp_path / "none" / "c", model="m", progress=False)
    with pytest.raises(StorageError, match="cannot write"):
        job.write_requests(tmp_path)
