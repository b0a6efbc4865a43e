"""Make .venv in the checkout and install the package there: install.py ROOT KIND STAMP.

Kept to what an older Python can read, so that it can say that it is too old.
"""

import os
import subprocess
import sys


def main() -> None:
    if sys.version_info < (3, 11):
        found = ".".join(str(part) for part in sys.version_info[:3])
        stop(f"Python 3.11 or newer is needed, python3 here is {found}: install a newer one")
    try:
        import ensurepip  # noqa: F401
        import fcntl
        import venv  # noqa: F401
    except ImportError as error:
        stop(
            f"this Python has no {error.name} module: install it "
            "(on Debian and Ubuntu: apt-get install python3-venv)"
        )
    root, kind, stamp = sys.argv[1:]
    try:
        lock = open(os.path.join(root, ".catclf-install.lock"), "w")
    except OSError as error:
        stop(f"cannot write to {root}: {error.strerror}")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second call waits here, then finds the work done
        install(root, kind, stamp)


def install(root: str, kind: str, stamp: str) -> None:
    folder = os.path.join(root, ".venv")
    python = os.path.join(folder, "bin", "python")
    stamps = {name: os.path.join(folder, ".catclf-" + name) for name in ("core", kind)}
    usable = os.access(python, os.X_OK)
    if usable and is_done(stamps[kind], stamp):
        return
    # Without a stamp of this place and these dependencies the folder may be half-made or moved.
    if not (usable and is_done(stamps["core"], stamp)):
        say(f"setting up {folder} (first use; needs the network) ...")
        run([sys.executable, "-m", "venv", "--clear", folder])
    target = root if kind == "core" else f"{root}[{kind}]"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--editable", target])
    # So that the first start is as fast as later ones, and fast where Python may not cache code.
    run([python, "-m", "compileall", "-q", os.path.join(root, "catclf")])
    for path in stamps.values():
        with open(path + ".new", "w") as file:
            file.write(stamp + "\n")
        os.replace(path + ".new", path)


def is_done(path: str, stamp: str) -> bool:
    try:
        with open(path) as file:
            return file.readline().rstrip("\n") == stamp
    except OSError:
        return False


def run(command: "list[str]") -> None:
    if subprocess.run(command, stdout=sys.stderr).returncode:
        stop("the set-up failed, see above; run the command again to retry")


def say(text: str) -> None:
    sys.stderr.write(f"catclf: {text}\n")
    sys.stderr.flush()


def stop(text: str) -> None:
    say(text)
    sys.exit(2)


main()
