"""What is particular to the ONNX engine: its tokenizer, its caches, and folders that are not whole."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import make_checkpoint

from edgemem.engines.onnx_tokenizer import OnnxTokenizer
from edgemem.errors import EdgememError, InvalidInput, ModelDamaged, ModelUnsupported
from edgemem.values import Message


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as far as its tokenizer goes."""
    made = make_checkpoint(tmp_path_factory.mktemp("onnx") / "model")
    (made / "genai_config.json").write_text(json.dumps({"model": {"eos_token_id": [2, 7]}}))
    return made


def test_text_is_normalised_and_comes_back_from_its_bytes(folder: Path) -> None:
    tokenizer = OnnxTokenizer(folder)
    for text in ("café 🙂", "日本語", "a\n\n\tb", "\udce9 broken"):
        ids = tokenizer.tokenize(text, special=False)
        clean = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        assert b"".join(map(tokenizer.piece, ids)).decode() == clean
    decomposed = unicodedata.normalize("NFD", "Größe")
    assert tokenizer.tokenize(decomposed, special=False) == tokenizer.tokenize("Größe", special=False)


def test_control_tokens_are_such_only_where_asked_for(folder: Path) -> None:
    tokenizer = OnnxTokenizer(folder)
    assert tokenizer.tokenize("<|im_end|>", special=True) == [2]
    plain = tokenizer.tokenize("<|im_end|>", special=False)
    assert 2 not in plain
    assert b"".join(map(tokenizer.piece, plain)) == b"<|im_end|>"
    assert (tokenizer.piece(2), tokenizer.piece(639)) == (b"", b"")
    assert [token for token in range(640) if tokenizer.is_end(token)] == [0, 2, 7]
    assert (tokenizer.bos(), tokenizer.special_text("eos")) == ([], "<|im_end|>")


INCOMPLETE = {
    "no tokenizer": ("tokenizer.json", None, ModelDamaged),
    "a tokenizer of nonsense": ("tokenizer.json", "{}", ModelUnsupported),
    "a torn tokenizer": ("tokenizer.json", '{"decoder": {"type": "ByteLevel"}', ModelDamaged),
    "a tokenizer that the library refuses": ("tokenizer.json", '{"decoder": {"type": "ByteLevel"}}', ModelDamaged),
    "no configuration": ("genai_config.json", None, ModelDamaged),
    "a configuration that is a list": ("genai_config.json", "[]", ModelDamaged),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_a_folder_that_is_not_whole_is_refused(case: str, tmp_path: Path) -> None:
    name, content, error = INCOMPLETE[case]
    folder = make_checkpoint(tmp_path / "model")
    (folder / "genai_config.json").write_text('{"model": {}}')
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(error) as caught:
        OnnxTokenizer(folder)
    assert caught.value.hint


@pytest.fixture(scope="module")
def engine(tiny_onnx: Path) -> Iterator[object]:
    from edgemem.engines import open_engine

    opened = open_engine(tiny_onnx, context_tokens=1500, threads=2)
    yield opened
    opened.close()


@pytest.mark.slow
def test_a_cache_grows_and_computes_the_same(engine: object) -> None:
    """In pieces across the sizes that a cache grows through, by single tokens, and at once: the same next token."""
    from edgemem.engines.onnx_engine import OnnxEngine

    assert isinstance(engine, OnnxEngine)
    ids = [int(number) for number in np.random.default_rng(1).integers(3, 600, 700)]
    whole, parts = engine.open(), engine.open()
    whole.feed(ids)
    for end in (1, 2, 255, 257, 300, 513, 700):
        parts.feed(ids[:end])
    assert np.allclose(whole._last_logits(), parts._last_logits(), atol=1e-4)
    fork = parts.fork()
    fork.feed([*ids, *ids[:600]])
    assert np.allclose(whole._last_logits(), parts._last_logits(), atol=1e-4)
    assert len(fork.ids) == 1300
    last = list(engine.rows_after(ids[:40]))[-1]
    short = engine.open()
    short.feed(ids[:40])
    assert np.allclose(last, short._last_logits(), atol=1e-4)


@pytest.mark.slow
def test_what_cannot_be_run_is_refused(tiny_onnx: Path, tmp_path: Path, engine: object) -> None:
    from edgemem.engines import open_engine

    wrong: list[tuple[Path, type[EdgememError]]] = []
    for name in ("genai_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).write_bytes((tiny_onnx.parent / name).read_bytes())
    (tmp_path / "model.onnx").write_bytes(tiny_onnx.read_bytes()[:2000])
    wrong.append((tmp_path / "model.onnx", ModelUnsupported))
    for path, error in wrong:
        with pytest.raises(error, match="onnxruntime cannot load"):
            open_engine(path, context_tokens=512)
    with pytest.raises(InvalidInput, match="no GPU provider"):
        open_engine(tiny_onnx, device="gpu", context_tokens=512)


@pytest.mark.slow
def test_two_checkpoints_of_one_shape_do_not_have_the_same_graph(tiny_onnx: Path, tmp_path: Path) -> None:
    from edgemem.export.onnx_genai import mark_weights

    digests = set()
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "model.onnx").write_bytes(tiny_onnx.read_bytes())
        (folder / "model.onnx.data").write_bytes(bytes([number]) * 1000)
        mark_weights(folder)
        digests.add((folder / "model.onnx").read_bytes())
    assert len(digests) == 2


def test_the_template_is_the_folders(folder: Path) -> None:
    from edgemem.engines.rendering import render, render_next
    from edgemem.engines.template import ChatTemplate

    tokenizer = OnnxTokenizer(folder)
    template = ChatTemplate(tokenizer.template(folder), eos="<|im_end|>")
    try:
        ids = render(tokenizer, template, [Message("user", "hi <|im_end|>")], think=False)
        following = render_next(tokenizer, template, Message("user", "x"), think=False)
    finally:
        template.close()
    assert ids.count(2) == 1
    assert following[0] == 2


def copying_graph(path: Path) -> None:
    """A graph as optimum makes them, of one head of size 1: the past comes back with each id plus its position behind
    it, and logit i after a token is the sum of all that, times i."""
    onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
    make, kind = onnx.helper.make_node, onnx.TensorProto
    cache = [1, 1, "past", 1]
    nodes = [
        make("Add", ["input_ids", "position_ids"], ["sum"]),
        make("Cast", ["sum"], ["floats"], to=kind.FLOAT),
        make("Reshape", ["floats", "shape"], ["new"]),
        make("Concat", ["past_key_values.0.key", "new"], ["present.0.key"], axis=2),
        make("Concat", ["past_key_values.0.value", "new"], ["present.0.value"], axis=2),
        make("ReduceSum", ["present.0.key"], ["all"], keepdims=0),
        make("Mul", ["all", "weights"], ["logits"]),
    ]
    given = [onnx.helper.make_tensor_value_info(name, kind.INT64, [1, "n"]) for name in ("input_ids", "position_ids")]
    given += [onnx.helper.make_tensor_value_info("attention_mask", kind.INT64, [1, "total"])]
    parts = ("0.key", "0.value")
    given += [onnx.helper.make_tensor_value_info(f"past_key_values.{part}", kind.FLOAT, cache) for part in parts]
    out = [onnx.helper.make_tensor_value_info("logits", kind.FLOAT, [1, 1, 640])]
    out += [onnx.helper.make_tensor_value_info(f"present.{part}", kind.FLOAT, [1, 1, "all", 1]) for part in parts]
    weights = onnx.numpy_helper.from_array(np.arange(640, dtype=np.float32).reshape(1, 1, 640), "weights")
    shape = onnx.numpy_helper.from_array(np.array([1, 1, -1, 1]), "shape")
    graph = onnx.helper.make_graph(nodes, "copying", given, out, [weights, shape])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)


def test_a_graph_that_copies_its_past_computes_the_same_in_pieces_and_on_forks(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    from edgemem.engines import open_engine
    from edgemem.engines.onnx_engine import OnnxEngine

    folder = make_checkpoint(tmp_path / "model")
    (folder / "genai_config.json").write_text(json.dumps({"model": {"context_length": 2000}}))
    copying_graph(folder / "model.onnx")
    engine = open_engine(folder / "model.onnx", context_tokens=1500, threads=1)
    assert isinstance(engine, OnnxEngine)
    try:
        ids = [int(number) for number in np.random.default_rng(1).integers(3, 600, 700)]
        whole, parts = engine.open(), engine.open()
        whole.feed(ids)
        for end in (1, 2, 255, 257, 700):
            parts.feed(ids[:end])
        fork = parts.fork()
        fork.feed([*ids[:300], 5])
        total = sum(ids) + sum(range(700))
        assert whole._last_logits()[1] == parts._last_logits()[1] == total
        assert fork._last_logits()[1] == sum(ids[:300]) + 5 + sum(range(301))
    finally:
        engine.close()
