"""Byte-level and SentencePiece BPE in a few lines each: slow, and plainly right."""


def merge(parts, rank_of):
    """
    Returns parts, a list of byte strings, after all merges.

    rank_of(left, right): how early two neighbours merge, None if they never do. Each time the pair
    of the lowest rank is joined, of equals the leftmost.
    """
    while True:
        ranked = []
        for i in range(len(parts) - 1):
            rank = rank_of(parts[i], parts[i + 1])
            if rank is not None:
                ranked.append((rank, i))
        if not ranked:
            return parts
        _, i = min(ranked)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def merge_by_list(word, merges):
    """Returns the parts of a word; merges: {(left, right): rank} over byte strings."""
    return merge([word[i : i + 1] for i in range(len(word))],
                 lambda left, right: merges.get((left, right)))  # fmt: skip


def merge_by_score(chars, scores):
    """Returns the parts of a text, given as characters; scores: {token: score}, high is early."""
    return merge(chars, lambda left, right: -scores[left + right]
                 if left + right in scores else None)  # fmt: skip
