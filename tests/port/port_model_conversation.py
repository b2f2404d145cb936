"""Holds a conversation with the packed model given, whose header is made to name a turn format."""

import binascii
import struct
import sys

import kernel_llm
from kernel_llm import _abi
from kernel_llm.conversation import Conversation
from kernel_llm.errors import KllmError
from kernel_llm.sampler import Sampler

FIELDS = _abi.KLLM_IMAGE[1]

with open(sys.argv[1], "rb") as file:
    image = bytearray(file.read())
struct.pack_into("<I", image, FIELDS["chat"][0], _abi.KLLM_CHAT_CHATML)
crc_off = FIELDS["header_crc"][0]
struct.pack_into("<I", image, crc_off, binascii.crc32(bytes(image[:crc_off])) & 0xFFFFFFFF)
path = sys.argv[1] + ".chat"
with open(path, "wb") as file:
    file.write(image)

with kernel_llm.open(sys.argv[1], n_ctx=32) as model:
    try:
        Conversation(model, Sampler())
    except KllmError as error:
        print(error)

with kernel_llm.open(path, n_ctx=112) as model:
    sampler = Sampler(50.0, 0, 1.0, 0.0, seed=3)
    talk = Conversation(model, sampler, "be brief", 6)
    for text in ("hello", "the world", "the hello " * 40, "and the end"):
        try:
            answer = "".join(list(talk.say(text)))
            print([ord(char) for char in answer], model.length(), len(talk.turns))
        except KllmError as error:
            print(error)
    talk.reset()
    print(model.length(), talk.turns)
