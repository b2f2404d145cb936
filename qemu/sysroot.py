# SPDX-License-Identifier: Apache-2.0
"""
Unpacks a Debian 13 userland into the cache, without root, and runs programs of it.

    python -m qemu.sysroot                       arm64; prints the folder
    python -m qemu.sysroot --arch amd64          this machine's own, for MicroPython
    python -m qemu.sysroot -- python3.13 -V      runs a program of it under QEMU

Mirror and keys are those of this machine's apt configuration; KLLM_DEBIAN_MIRROR=URL and
KLLM_DEBIAN_KEYRING=FILE take their place. Nothing of the machine itself is changed.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from kernel_llm.files import locked
from kernel_llm.terminal import Parser, run_command
from qemu.tools import require

SUITE = "trixie"
VERSION = 4  # raised whenever the list of packages changes
HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
PACKAGES = {
    "arm64": ("libc6", "python3.13", "python3-cffi-backend", "python3-numpy", "python3-pytest",
              "python3-hypothesis", "python3-rich", "python3-yaml", "python3-tqdm",
              "python3-requests", "micropython", "libpython3.13-dev"),
    "amd64": ("libc6", "micropython"),
    "cbmc": ("libc6", "cbmc"),
    "qemu": ("libc6", "qemu-system-arm"),
}  # fmt: skip
TRIPLETS = {"arm64": "aarch64-linux-gnu", "amd64": "x86_64-linux-gnu"}
LOADERS = {"arm64": "lib/ld-linux-aarch64.so.1", "amd64": "lib64/ld-linux-x86-64.so.2"}
DEBIAN_SUITES = ("stable", "testing", "bullseye", "bookworm", "trixie", "forky", "sid")


class NoSysroot(Exception):
    """The userland cannot be made here; the message is one line that says why."""


def mirror():
    """Returns (URL, keyring file or "") of Debian's main archive from apt's configuration."""
    if os.environ.get("KLLM_DEBIAN_MIRROR"):
        return os.environ["KLLM_DEBIAN_MIRROR"], os.environ.get("KLLM_DEBIAN_KEYRING", "")
    if shutil.which("apt-get") is None:
        raise NoSysroot("no apt-get here: set KLLM_DEBIAN_MIRROR, or run this on Debian or Ubuntu")
    fields = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)"
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", fields],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    for line in listing.splitlines():
        uri, release, component, keyring = line.split("|")
        if component == "main" and release in DEBIAN_SUITES:
            return uri.rstrip("/"), keyring if keyring.startswith("/") else ""
    raise NoSysroot("apt knows no Debian mirror: set KLLM_DEBIAN_MIRROR=URL of one")


def keyring_file(keyring):
    """Returns the file with the keys that sign SUITE."""
    known = "/usr/share/keyrings/debian-archive-keyring.gpg"
    for path in (keyring, os.environ.get("KLLM_DEBIAN_KEYRING", ""), known):
        if path and Path(path).exists():
            return path
    raise NoSysroot("no keys of Debian's archive: install debian-archive-keyring")


def apt(root, arch, *words):
    """Runs apt-get on private lists under root; raises NoSysroot with its first error."""
    settings = {
        "APT::Architecture": arch, "APT::Architectures": arch, "APT::Sandbox::User": "",
        "APT::Install-Recommends": "false", "Debug::NoLocking": "true",
        "APT::Update::Error-Mode": "any",  # no network fails here, not where a package is missing
        "Dir::State": root / "state", "Dir::State::status": root / "state" / "status",
        "Dir::Cache": root / "cache", "Dir::Etc::sourcelist": root / "sources.list",
        "Dir::Etc::sourceparts": "-", "Dir::Etc::preferencesparts": "-",
    }  # fmt: skip
    command = ["apt-get", "-qq", "-y"]
    for key, value in settings.items():
        command += ["-o", f"{key}={value}"]
    result = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        errors = [text for text in result.stderr.splitlines() if text.startswith("E: ")]
        raise NoSysroot(f"apt-get {words[0]}: {(errors or ['no reason given'])[0]}")


def cache_folder(name):
    """Returns where a userland lies, made or not."""
    base = os.environ.get("KLLM_SYSROOT_CACHE") or os.environ.get("XDG_CACHE_HOME") \
        or str(Path.home() / ".cache")  # fmt: skip
    return Path(base) / "kernel-llm" / f"sysroot-{SUITE}-{name}-{VERSION}"


def make_sysroot(arch="arm64", wanted=None):
    """
    Returns the folder of the userland, downloading and unpacking it the first time.

    wanted: key of PACKAGES; the architecture's own by default.
    Raises NoSysroot if that is not possible. A half-made folder is never left under the name.
    """
    wanted = wanted or arch
    folder = cache_folder(wanted)
    if folder.exists():
        return folder
    url, keyring = mirror()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent):
        if not folder.exists():  # nobody has made it meanwhile
            _make(folder, arch, PACKAGES[wanted], url, keyring)
    return folder


def _make(folder, arch, packages, url, keyring):
    work = folder.with_name(folder.name + ".part")
    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
    tree = work / "tree"
    for part in ("state/lists/partial", "cache/archives/partial", "tree"):
        (work / part).mkdir(parents=True)
    (work / "state" / "status").touch()
    (work / "sources.list").write_text(
        f"deb [arch={arch} signed-by={keyring_file(keyring)}] {url} {SUITE} main\n"
    )
    try:
        apt(work, arch, "update")
        apt(work, arch, "install", "--download-only", *packages)
        for link in ("bin", "sbin", "lib"):  # Debian 13's own layout, so that loaders are found
            (tree / "usr" / link).mkdir(parents=True)
            (tree / link).symlink_to(f"usr/{link}")
        if arch == "amd64":
            (tree / "usr" / "lib64").mkdir()
            (tree / "lib64").symlink_to("usr/lib64")
        for package in sorted((work / "cache" / "archives").glob("*.deb")):
            unpack = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True,
                                    check=True)  # fmt: skip
            untar = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", tree]
            subprocess.run(untar, input=unpack.stdout, check=True)
        os.replace(tree, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def environment(folder, arch="arm64"):
    """Returns the variables that programs of the userland need to find their libraries."""
    libraries = folder / "usr" / "lib" / TRIPLETS[arch]
    paths = [str(libraries / name) for name in ("blas", "lapack")]
    return {
        "LD_LIBRARY_PATH": ":".join([*paths, str(libraries), str(folder / "usr" / "lib")]),
        "PYTHONHOME": str(folder / "usr"),
    }


def command_line(folder, words, arch="arm64", cpu="cortex-a53", variables=None):
    """
    Returns the words that run a program of the userland on this machine.

    words: name of a program in its usr/bin, then arguments. cpu: the core that is emulated.
    variables: more environment of the program; this machine's own reaches it too.
    """
    wanted = {**environment(folder, arch), **(variables or {})}
    program = str(folder / "usr" / "bin" / words[0])
    if not os.path.exists(program):
        raise NoSysroot(f"the userland has no program {words[0]}")
    native = {"arm64": "aarch64", "amd64": "x86_64"}[arch] == platform.machine()
    if native:
        loader = [str(folder / LOADERS[arch]), "--library-path", wanted.pop("LD_LIBRARY_PATH")]
        pairs = [f"{key}={value}" for key, value in wanted.items()]
        return ["env", *pairs, *loader, program, *words[1:]]
    require("qemu-aarch64")
    settings = [part for key, value in wanted.items() for part in ("-E", f"{key}={value}")]
    return ["qemu-aarch64", "-L", str(folder), "-cpu", cpu, *settings, program, *words[1:]]


def debian_qemu():
    """Returns the words that start the qemu-system-aarch64 of Debian 13 on this machine."""
    folder = make_sysroot(HOST, "qemu")
    firmware = folder / "usr" / "share" / "qemu"
    return command_line(folder, ["qemu-system-aarch64", "-L", str(firmware)], HOST)


def main():
    parser = Parser(prog="python -m qemu.sysroot", description="a Debian 13 userland without root")
    parser.add_argument("--arch", choices=sorted(TRIPLETS), default="arm64")
    parser.add_argument("--cpu", default="cortex-a53")
    parser.add_argument("words", nargs="*", metavar="PROGRAM ARGUMENTS")
    args = parser.parse_args()
    folder = make_sysroot(args.arch)
    if not args.words:
        print(folder)
        return
    command = command_line(folder, args.words, args.arch, args.cpu)
    sys.stdout.flush()
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(run_command("qemu.sysroot", main, (NoSysroot,)))
