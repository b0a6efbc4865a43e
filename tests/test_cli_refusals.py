"""What is refused: exit code 2, nothing on stdout, one line on what to do, no file changed."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import wording
from conftest import CLASSES, Run, make_images, write_both_parts, write_hdf5

import catclf
from catclf.images.preprocess import Preprocess
from catclf.settings import METHODS, SOLVERS

LEAVE = "is empty: leave it out"
OF_ANOTHER_KIND = ": another kind of file is written: end it in "
REFUSED = {
    # A command line, and what the line on stderr says.
    "train --data ''": f"--data: {LEAVE}",
    "train -o ''": f"-o: {LEAVE}",
    "predict ''": f"an argument {LEAVE}",
    "predict a.jpg -m ''": f"-m: {LEAVE}",
    "train --lr 0.1 --lr 0.2": "--lr 0.1 and --lr 0.2: give one of them",
    "train --lr=0.1 --learning-rate=0.2": "--lr 0.1 and --learning-rate 0.2: give",
    "train --flip --no-flip": "--flip and --no-flip: give one of them",
    "report -qm x.npz -m y.npz": "-m x.npz and -m y.npz: give",
    "train a.h5 b.h5": "--data a.h5 and --data b.h5: give one of them\n",
    "train a.h5 --data b.h5": "--data b.h5 and --data a.h5: give one of them\n",
    "data info a.h5 --data b.h5": "unexpected extra argument",
    "train --quiet=yes": "--quiet: takes no value",
    "train --lr": "--lr: needs a value",
    "train --epochs 3": "there is no option --epochs: did you mean --iterations?",
    "train --lambda=1": "there is no option --lambda: did you mean --l2?",
    "predict --n-jobs 2": "there is no option --n-jobs: see --help",
    "fit": "there is no command fit: did you mean train?",
    "xyzzy": "there is no command xyzzy: 'catclf --help' lists them",
    "help a b": "--help",
    "help pipelnes": "no topic pipelnes: did you mean pipelines?\n",
    "help xyzzy": "there is no topic xyzzy: 'catclf help' lists the topics\n",
    "train -o model.onnx": f"{OF_ANOTHER_KIND}.npz\n",
    "train --plot cost.png": f"{OF_ANOTHER_KIND}.svg\n",
    "report -o page.pdf": f"{OF_ANOTHER_KIND}.html or .htm\n",
    "inspect --image w.jpg": f"{OF_ANOTHER_KIND}.png\n",
    "explain a.png --image e.svg": f"{OF_ANOTHER_KIND}.png\n",
    "data info a.h5 --image s.jpg": f"{OF_ANOTHER_KIND}.png\n",
    "train --solver magic": f"--solver magic is unknown: use {' or '.join(SOLVERS)}\n",
    "train --method magic": f"use {', '.join(METHODS[:-1])} or {METHODS[-1]}\n",
    "explain a.png --split test": "--index",
    "predict model.npz -m d16.h5": "model.npz: is a model: was it exchanged with --model?\n",
    "evaluate none.h5": f"none.h5: {wording.NO_SOURCE}",
    "evaluate small.h5 -m none.npz": f"none.npz: {wording.NO_FILE}",
    "evaluate small.h5 --positive dog": "no class is named dog",
    "evaluate small.h5 --threshold 2": "--threshold",
    "evaluate small.h5 -m model.npz -m model.npz -m model.npz": "",
    "evaluate photos": "no class folders",
    "evaluate d16.h5": "8x8",
    "train small.h5 --patience 3": "--patience waits for --validation",
    "train small.h5 --validation 1": "--validation 1 is not between 0 and 1",
    "train small.h5 --validation nan": "--validation nan",
    "train small.h5 --validation 0.01": "cannot be held out",
    "train small.h5 --validation none.h5": "none.h5: there is no such file",
    "train small.h5 --validation small.h5": "must be others",
    "train small.h5 --validation test.h5 --test test.h5": "must be others",
    "train small.h5 --patience 0 --validation 0.2": "patience 0",
    "train small.h5 --batch-size -1": "batch-size -1",
    "train small.h5 --batch-size 8 --method gram": "--batch-size",
    "train small.h5 --batch-size 8 --solver lbfgs": "--batch-size",
    "train small.h5 --workers 0": "--workers",
    "train small.h5 --cluster local:2": "make one with catclf data pack small.h5 -o packed/\n",
    "train small.h5 --solver lbfgs --schedule linear": "--schedule is for --solver gd",
    "train small.h5 --checkpoint-every 5 -o cut": "cut.checkpoint: is a folder",
    "train small.h5 --lr 1e4 -q": "try --learning-rate 1000\n",
    "train small.h5 --features hog": "16 pixels are needed",
    "train small.h5 --features patches": "20 pixels are needed",
    "train small.h5 --cache rows": "--cache keeps features",
    "train small.h5 --l2 much": "--l2 much: is neither a number nor auto",
    "train small.h5 --l2 -1": "--l2 -1 is not a number of at least 0",
    "train small.h5 --threshold 2": "--threshold 2 is not a number of at least 0 and of at most 1",
    "train small.h5 --threshold auto": "needs a penalty",
    "train d16.h5 --features hog --cache d16.h5": "is another file of this run",
    "train d16.h5 --features hog --cache precious": "is a file of another kind",
    "train small.h5 --classes cat": "--classes cat: two different names",
    "train text.h5": "text.h5: is not an HDF5 file",
    "train small.h5 --lr -1": "--learning-rate -1 is not a number above 0",
    "train small.h5 --lr nan": "--learning-rate nan",
    "train small.h5 --lr fast": "See 'catclf train --help'.",
    "train small.h5 --iterations -5": "--iterations -5",
    "train small.h5 --print-every 0": "--print-every 0",
    "train small.h5 --positive dog": "dog",
    "train small.h5 --size 9": "8x8",
    "train small.h5 -o .": "file name",
    "train small.h5 -o none/model.npz": wording.NO_FOLDER,
    "train small.h5 -o /dev/null": "regular file",
    "train small.h5 --log small.h5": f"small.h5: {wording.OTHER_FILE}",
    "train small.h5 --log none/log": wording.NO_FOLDER,
    "train small.h5 --log model.npz.checkpoint --resume": "model.npz.checkpoint: is another file",
    "train small.h5 --plot a --log a": f"a: {wording.OTHER_FILE}",
    "train small.h5 --features hog --plot a --cache a": f"a: {wording.OTHER_FILE}",
    "train small.h5 --features hog --cache m.checkpoint -o m --resume": "is another file of",
    "data pack small.h5 -o small.h5": "small.h5: is another file of this run",
    "data pack small.h5 -o packed": ".h5",
    "data split small.h5 -o s.h5": "small.h5: has a training and a test split already",
    "data split test.h5 -o s.h5 --test 0": "cannot be divided",
    "data split test.h5 -o s.h5 --test 0.01": "cannot be divided",
    "inspect model.npz --image model.npz": ": another kind of file is written: end it in .png\n",
    "inspect model.npz --image none/w.png": wording.NO_FOLDER,
    "inspect none.npz": f"none.npz: {wording.NO_FILE}",
    "inspect text.h5": "text.h5: is no",
    "inspect .": ".",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("refused")
    write_both_parts(root / "small.h5", 20, 10)
    write_both_parts(root / "d16.h5", 40, 10, 16)
    x, y = make_images(10)
    write_hdf5(root / "test.h5", x=x, y=y, list_classes=CLASSES)
    catclf.save(catclf.Model(np.zeros((192, 1)), 0.1, Preprocess(8)), root / "model.npz")
    (root / "precious").write_text("a letter")
    (root / "text.h5").write_text("no HDF5")
    for name in ("photos", "cut.checkpoint"):
        (root / name).mkdir()
    return root


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_refused_is_one_line(run: Run, folder: Path, line: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run(*shlex.split(line), cwd=folder).refused(REFUSED[line])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
