# SPDX-License-Identifier: Apache-2.0
"""
The command line of the build: `python native PRODUCT`.

    python native archive   [--target T]   build/<T>/libkllm.a
    python native shared    [--target T]   build/<T>/libkllm.so (MicroPython's ffi)
    python native extension                kernel_llm/_kllm.abi3.so (cffi)
    python native abi [--check]            kernel_llm/_abi.py from kllm.h

Beside it stand cross.py, which makes the wheel of another machine, and kernels_table.py.
"""

import argparse
import sys

import abi
import build
import extension


def main():
    parser = argparse.ArgumentParser(prog="native", description="builds the core of kernel-llm")
    parser.add_argument("product", choices=["archive", "shared", "extension", "abi"])
    parser.add_argument("--target", choices=sorted(build.targets()), help="default: this machine")
    parser.add_argument("--check", action="store_true", help="abi: fail if _abi.py is not fresh")
    args = parser.parse_args()
    target = build.targets()[args.target] if args.target else build.host_target()
    if args.product == "extension" and args.target not in (None, build.host_target().name):
        parser.error("native/cross.py makes the extension of another machine")
    if args.product == "abi":
        abi.write_abi(args.check)
        return
    builder = {"archive": build.build_archive, "shared": build.build_shared,
               "extension": extension.build_extension}[args.product]  # fmt: skip
    print(builder(target).relative_to(build.ROOT))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
