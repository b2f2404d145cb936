"""The image check: whatever bytes it is given, it refuses them or they are safe to run."""

import contextlib
import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from conftest import ROOT, SEED
from kernel_llm import _abi, layout, pack
from kernel_llm import _native as native
from kernel_llm.encoder import Encoder
from kernel_llm.errors import KllmError
from kernel_llm.gguf.read import GGUF
from kernel_llm.image import Image
from kernel_llm.model import Model
from kernel_llm.opening import open_image, packed_path
from kernel_llm.progress import show_progress

sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
import fuzz_model

HEADER_BYTES, FIELDS = _abi.KLLM_IMAGE
TENSOR_BYTES, TENSOR_FIELDS = _abi.KLLM_TENSOR
BOUNDARIES = (0, 1, 2, 31, 32, 33, 63, 64, 255, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
WIDE = (*BOUNDARIES, 2**32, 2**63 - 1, 2**63, 2**64 - 64, 2**64 - 1)


class Bytes:
    """A Memory that holds given bytes, page aligned, with nothing readable to spare."""

    def __init__(self, content):
        self._memory = native.Memory(len(content))
        self.address, self.n_bytes = self._memory.address, len(content)
        native.view(self.address, self.n_bytes)[:] = bytes(content)

    def close(self):
        self._memory.close()


def reseal(content):
    """Makes the checksums of header and tensor table true again."""
    n_tensors = struct.unpack_from("<I", content, FIELDS["n_tensors"][0])[0]
    end = min(HEADER_BYTES + n_tensors * TENSOR_BYTES, len(content))
    table = zlib.crc32(content[HEADER_BYTES:end])
    struct.pack_into("<I", content, FIELDS["table_crc"][0], table)
    off = FIELDS["header_crc"][0]
    struct.pack_into("<I", content, off, zlib.crc32(content[:off]))
    return content


def verdict(content):
    """Returns the status of the check; an accepted image is opened and run."""
    memory = Bytes(content)
    bad_off = bytearray(8)
    status = native.kllm_image_check(memory.address, memory.n_bytes, native.pointer(bad_off))
    if status == 0:
        with Model(Image("damaged", memory), n_ctx=8, threads=1, n_batch=4) as model:
            model.eval([1, 2, model.n_vocab - 1], [0, 0, 0])
            ids = model.encode("the hello, \u00e9\U0001f600 <|im_end|>\xff", special=True)
            model.decode(ids, special=True)
    else:
        assert struct.unpack("<Q", bad_off)[0] < max(1, len(content))
        memory.close()
    return status


@pytest.fixture(scope="module", params=[("llama", "q4_0"), ("gpt2", "f16")], ids="-".join)
def content(request, tiny_models, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        path = tiny_models(*request.param, n_layer=1)
        open_image(path).close()
        return packed_path(path).read_bytes()


def test_a_packed_image_is_accepted_and_its_body_checks(content):
    assert verdict(content) == 0
    Image("whole", Bytes(content)).check_body()


def test_every_flipped_byte_before_the_vocabulary_is_refused(content):
    (vocab_off,) = struct.unpack_from("<Q", content, FIELDS["vocab_off"][0])
    covered = [*range(FIELDS["header_crc"][0] + 4), *range(HEADER_BYTES, vocab_off)]
    table_end = HEADER_BYTES + TENSOR_BYTES * struct.unpack_from(
        "<I", content, FIELDS["n_tensors"][0]
    )[0]  # fmt: skip
    for off in covered:
        if off >= table_end:
            break
        damaged = bytearray(content)
        damaged[off] ^= 0x41
        assert verdict(damaged) < 0, off


def test_every_truncation_of_header_and_table_is_refused(content):
    for n_bytes in [*range(1200), len(content) // 2, len(content) - 1]:
        assert verdict(content[:n_bytes]) == _abi.KLLM_ERR_FORMAT


@pytest.mark.parametrize("field", [f for f in FIELDS if "crc" not in f and "reserved" not in f])
def test_a_boundary_value_in_a_header_field_never_breaks_it(content, field):
    off, kind = FIELDS[field]
    if isinstance(kind, int):
        kind = "<Q"
    for value in WIDE if kind == "<Q" else BOUNDARIES:
        damaged = bytearray(content)
        kind = "<I" if kind == "<f" else kind
        struct.pack_into(kind, damaged, off, value & (2 ** (8 * struct.calcsize(kind)) - 1))
        status = verdict(reseal(damaged))
        if field not in ("model_hash", "name", "chat") and damaged != reseal(bytearray(content)):
            assert status < 0 or field in ("rope", "n_rot", "norm_eps", "attn_scale",
                                           "vocab_bytes", "n_ctx_train"), value  # fmt: skip


@pytest.mark.parametrize("field", [f for f in TENSOR_FIELDS if f != "reserved"])
def test_a_boundary_value_in_the_tensor_table_never_breaks_it(content, field):
    off, kind = TENSOR_FIELDS[field]
    (n_tensors,) = struct.unpack_from("<I", content, FIELDS["n_tensors"][0])
    for idx in range(n_tensors):
        at = HEADER_BYTES + idx * TENSOR_BYTES + off
        for value in WIDE if kind == "<Q" else BOUNDARIES:
            damaged = bytearray(content)
            struct.pack_into(kind, damaged, at, value)
            verdict(reseal(damaged))


def test_a_damaged_vocabulary_is_refused_or_safe(content):
    (vocab_off,) = struct.unpack_from("<Q", content, FIELDS["vocab_off"][0])
    (vocab_bytes,) = struct.unpack_from("<Q", content, FIELDS["vocab_bytes"][0])
    rng = np.random.default_rng(3)
    offs = [*range(256), *rng.integers(0, vocab_bytes, 1500).tolist()]
    for off in offs:
        damaged = bytearray(content)
        damaged[vocab_off + off] ^= int(rng.integers(1, 256))
        verdict(damaged)


def test_damaged_images_stay_in_their_memory_under_sanitizers(tmp_path):
    """A short run of `make fuzz`."""
    program = fuzz_model.sanitized_program(ROOT / "build" / "sanitized")
    for path in [image for _, image in fuzz_model.make_models(tmp_path)]:
        done = subprocess.run([program, path, "1000", str(SEED)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert int(done.stdout.split(",")[1].split()[0]) > 200


def test_damaged_files_are_refused_or_run(tmp_path):
    """A short run of `make fuzz`."""
    paths = [gguf for gguf, _ in fuzz_model.make_models(tmp_path)]
    assert fuzz_model.files(paths, 100, SEED) > 0


def test_damaged_weights_are_found_by_the_checksum_of_the_body(content):
    damaged = bytearray(content)
    damaged[-100] ^= 1
    with pytest.raises(KllmError, match="FORMAT: .*damaged"):
        Image("x", Bytes(damaged)).check_body()


def test_another_layout_version_asks_to_pack_again(content):
    damaged = bytearray(content)
    struct.pack_into("<I", damaged, FIELDS["layout"][0], 99)
    with pytest.raises(KllmError, match="ABI: .*pack it again"):
        Image("old.kllm", Bytes(damaged))


def test_crc32_is_that_of_zlib():
    data = bytes(range(256)) * 5
    for n in (0, 1, 7, 255, len(data)):
        assert native.kllm_crc32(0, native.pointer(data), n) == zlib.crc32(data[:n])
    half = native.kllm_crc32(0, native.pointer(data), 100)
    assert native.kllm_crc32(half, native.pointer(data[100:]), 50) == zlib.crc32(data[:150])


@pytest.mark.parametrize("dtype,block_bytes", [(2, 18), (3, 20), (8, 34)])
@pytest.mark.parametrize("rows,cols", [(1, 32), (16, 96), (37, 64), (48, 576)])
def test_the_layout_keeps_every_byte_of_a_tensor(dtype, block_bytes, rows, cols):
    raw = np.random.default_rng(rows).integers(0, 256, rows * cols // 32 * block_bytes, np.uint8)
    packed = layout.pack_rows(raw, dtype, rows, cols)
    assert packed.nbytes == native.kllm_tensor_bytes(dtype, rows, cols)
    assert np.array_equal(layout.unpack_rows(packed.tobytes(), dtype, rows, cols).ravel(), raw)


def test_the_image_holds_the_tensors_of_the_file(tiny_models, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tiny_models("llama", "q8_0", tied=False)
    gguf, image = GGUF(path), open_image(path)
    raw = path.read_bytes()
    for name, dtype, rows, cols, off, n_bytes in image.tensors():
        if name == "rope":
            continue
        tensor = gguf.tensor(name + ".weight")
        found = bytes(native.view(image.address + off, n_bytes))
        if dtype == "q8_0":
            found = layout.unpack_rows(found, _abi.KLLM_Q8_0, rows, cols).tobytes()
        assert found == raw[tensor.off : tensor.off + tensor.n_bytes], name
    assert Encoder(image.address + image.vocab_off).encode("hello")
    image.close()


def test_an_image_is_written_by_whole_pages(tiny_models, tmp_path, monkeypatch):
    ends = []  # of every write, and what it brought

    class Recorder(io.FileIO):
        def write(self, content):
            ends.append((self.tell() + len(content), len(content)))
            return super().write(content)

    @contextlib.contextmanager
    def recording(path):
        with io.BufferedWriter(Recorder(path, "w"), page) as file:
            yield file

    page = 4096
    monkeypatch.setattr(pack, "HUGE_PAGE_BYTES", page)
    monkeypatch.setattr(pack, "atomic_write", recording)
    image = tmp_path / "model.kllm"
    pack.pack(tiny_models("llama", "f32"), image, show_progress)
    body, (tail, header) = ends[:-2], ends[-2:]
    assert all(end % page == 0 and n % page == 0 for end, n in body), ends[:3]
    assert tail[0] == image.stat().st_size and header[0] == header[1]
    assert len(body) == image.stat().st_size // page
