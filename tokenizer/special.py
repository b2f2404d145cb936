"""Finds special tokens in text."""


def next_special(vocab, ids, text, pos):
    """
    Returns (start, end, id) of the first special token in text[pos:].

    ids: the tokens to look for. Of those that overlap, longer ones are found before shorter ones,
    then lower ids, then the leftmost. Without any: (len(text), len(text), None).
    """
    end = len(text)
    found = (end, end, None)
    wanted = sorted((-len(vocab.text(id)), id) for id in ids)
    for n_bytes, id in wanted:
        start = text.find(vocab.text(id), pos, end)
        if start >= 0:
            # It is certain; what is left to look at is the text before it.
            found = (start, start - n_bytes, id)
            end = start
    return found
