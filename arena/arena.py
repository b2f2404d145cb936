"""The bump allocator in plain Python: a buffer, an offset, a mark. Twin of native/src/arena.c."""


class Arena:
    """
    Hands out offsets into a buffer the caller owns, upwards; gives back by mark or all at once.

    buffer: bytearray or other writable buffer; kept, never resized.

    `used_bytes` is the next free offset, `peak_bytes` the highest it has been.
    No method allocates once the arena exists.
    """

    def __init__(self, buffer):
        self.buffer = buffer
        self.n_bytes = len(buffer)
        self.used_bytes = 0
        self.peak_bytes = 0

    def alloc(self, n_bytes, align=64):
        """
        Takes n_bytes (0 or more) at a multiple of align, a power of two up to 4096.

        Returns the offset, or -1 if the arena is too small; it is then unchanged.
        Raises ValueError for a bad align or a negative n_bytes.
        """
        if n_bytes < 0 or align <= 0 or align > 4096 or align & (align - 1):
            raise ValueError("n_bytes must be 0 or more, align a power of two up to 4096")
        off = (self.used_bytes + align - 1) & -align
        if n_bytes > self.n_bytes - off:
            return -1
        self.used_bytes = off + n_bytes
        if self.used_bytes > self.peak_bytes:
            self.peak_bytes = self.used_bytes
        return off

    def mark(self):
        """Returns the state to which `release` goes back."""
        return self.used_bytes

    def release(self, mark):
        """Gives back everything taken since mark; ValueError if mark lies past what is used."""
        if not 0 <= mark <= self.used_bytes:
            raise ValueError("mark lies past what is used")
        self.used_bytes = mark

    def reset(self):
        """Gives everything back; `peak_bytes` stays."""
        self.used_bytes = 0
