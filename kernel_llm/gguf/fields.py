"""The metadata of a GGUF file, each value asked for with the type and range it must have."""

from kernel_llm._abi import KLLM_ERR_FORMAT, KLLM_ERR_RANGE, KLLM_ERR_UNSUPPORTED
from kernel_llm.errors import KllmError
from kernel_llm.gguf import types as gt


def fail(code, field, off, text):
    """Raises a KllmError that names a field of a file, its byte offset and what is wrong."""
    raise KllmError(code, "%s at byte %d: %s" % (field, off, text))


class Fields:
    """
    values: key -> int, float, bool, str (bytes where it is not UTF-8), array, or list of bytes.
    types: key -> declared type as text: "u32", "str", "[f32]", "[str]".
    offs: key -> byte offset of the value in the file.

    The getters raise KllmError: FORMAT for a missing key without a default or another type than
    asked for, RANGE for a value outside its range.
    """

    def __init__(self):
        self.values = {}
        self.types = {}
        self.offs = {}

    def refuse(self, code, key, text):
        """Raises a KllmError about a key that is there."""
        fail(code, "metadata %r" % key, self.offs[key], text)

    def located(self, error):
        """Returns a KllmError whose text begins with a key, with the byte of that key's value."""
        key = error.where.split(":")[0].split("[")[0]
        if key not in self.offs:
            return error
        return KllmError(error.code, "%s (value at byte %d)" % (error.where, self.offs[key]))

    def _absent(self, key, default):
        """Says whether key is missing; that is an error where there is no default."""
        if key in self.values:
            return False
        if default is None:
            raise KllmError(KLLM_ERR_FORMAT, "metadata %r is missing" % key)
        return True

    def _expect(self, key, types):
        if self.types[key] not in types:
            text = "is %s, not %s" % (self.types[key], " or ".join(types))
            self.refuse(KLLM_ERR_FORMAT, key, text)

    def _in_range(self, key, value, low, high):
        if not low <= value <= high:
            self.refuse(KLLM_ERR_RANGE, key, "%d is not in %d..%d" % (value, low, high))
        return value

    def uint(self, key, low, high, default=None):
        """Returns an integer of any declared width in low..high; low is 0 or more."""
        if self._absent(key, default):
            return default
        self._expect(key, gt.INTEGERS)
        return self._in_range(key, self.values[key], low, high)

    def uint_per_layer(self, key, n_layer, low, high, default=None):
        """Returns an integer that may be given once or, all equal, once per layer."""
        if self._absent(key, default):
            return default
        if self.types[key] in gt.INTEGERS:
            return self.uint(key, low, high)
        self._expect(key, tuple(["[%s]" % name for name in gt.INTEGERS]))
        values = self.values[key]
        if len(values) != n_layer:
            text = "%d elements for %d layers" % (len(values), n_layer)
            self.refuse(KLLM_ERR_FORMAT, key, text)
        for value in values:
            self._in_range(key, value, low, high)
            if value != values[0]:
                self.refuse(KLLM_ERR_UNSUPPORTED, key, "the layers differ")
        return values[0]

    def positive(self, key, default=None, below=3.5e38):
        """Returns a float above 0 and below a limit, one that float32 holds as well."""
        if self._absent(key, default):
            return default
        self._expect(key, ("f32", "f64"))
        value = self.values[key]
        if not 1.2e-38 < value < below:
            text = "%s is not a positive number below %s" % (value, below)
            self.refuse(KLLM_ERR_RANGE, key, text)
        return value

    def string(self, key, default=None):
        """Returns a text."""
        if self._absent(key, default):
            return default
        self._expect(key, ("str",))
        if isinstance(self.values[key], bytes):
            self.refuse(KLLM_ERR_FORMAT, key, "invalid UTF-8")
        return self.values[key]

    def boolean(self, key, default=None):
        """Returns a bool."""
        if self._absent(key, default):
            return default
        self._expect(key, ("bool",))
        return self.values[key]
