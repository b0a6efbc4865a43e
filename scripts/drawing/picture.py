"""One picture: which kind it shows, and the scene it is set in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from .bodies import Animal
from .brush import CANVAS, Canvas
from .camera import Pixels, shoot
from .covers import COVERS
from .faces import Look
from .geometry import Frame
from .poses import POSES, pose_box
from .scenes import backdrop
from .things import PROPS, THINGS, UNSEEN_THINGS
from .wardrobe import COATS, SHARES, UNSEEN, wear

DECK = 40  # kinds are dealt in decks of this size, half of them cats

OTHERS = {"dog": 6, "rabbit": 2, "bear": 2, "fox": 3, "mouse": 2, "owl": 2, "object": 3}
POSE_SHARES = {"face": 12, "sitting": 4, "walking": 2, "lying": 1, "asleep": 1}
# What is new in a deck of the test set, on each side: a coat or a thing, or a pose.
NEW = ("coat", "coat", "coat", "coat", "pose")


@dataclass(frozen=True)
class Card:
    """One card of the deck: a species (or 'object'), its pose, and what is new in the test."""

    species: str
    pose: str
    new: str = ""

    @property
    def label(self) -> int:
        """1 for a cat, 0 for anything else."""
        return int(self.species == "cat")


@lru_cache(maxsize=8)
def deck(seed: int, split: str, number: int) -> tuple[Card, ...]:
    """Return one shuffled deck: half cats, the others in fixed shares, poses alike in both."""
    rng = Random(f"{seed} {split} deck {number}")
    others = [name for name, n in OTHERS.items() for _ in range(n)]
    cards = []
    for side in (["cat"] * (DECK // 2), others):
        poses = [pose for pose, n in POSE_SHARES.items() for _ in range(n)]
        new = [*NEW] if split == "test" else []
        new += [""] * (len(poses) - len(new))
        rng.shuffle(poses)
        rng.shuffle(new)
        cards += [Card(*fields) for fields in zip(side, poses, new, strict=True)]
    rng.shuffle(cards)
    return tuple(cards)


def draw(seed: int, split: str, index: int) -> tuple[Pixels, int, str]:
    """Return picture number index of a split: its pixels, label and kind."""
    card = deck(seed, split, index // DECK)[index % DECK]
    rng = Random(f"{seed} {split} {index}")
    canvas = Canvas(backdrop(rng), rng)
    scene = _object_scene if card.species == "object" else _animal_scene
    kind = scene(canvas, card)
    return shoot(canvas.image, rng), card.label, kind


def _deal(card: Card, rng: Random) -> tuple[str, str]:
    """Return a pose and a coat name for an animal."""
    pose = card.pose
    if card.new == "pose":
        pose = "stretching"
    if card.species == "owl":
        pose = {"face": "face", "asleep": "asleep", "stretching": "flying"}.get(pose, "perched")
    if card.new == "coat":
        return pose, rng.choice(UNSEEN[card.species])
    known = [name for name in COATS[card.species] if name not in UNSEEN[card.species]]
    return pose, rng.choices(known, [SHARES[card.species].get(name, 1) for name in known])[0]


def _animal_scene(c: Canvas, card: Card) -> str:
    """Draw an animal in its place, with things about it; return its kind."""
    rng = c.rng
    pose, coat = _deal(card, rng)
    shut = pose == "asleep" or (pose in ("face", "sitting", "lying") and rng.random() < 0.03)
    look = Look(
        _yaw(card.species, pose, rng),
        shut,
        rng.randrange(60),
        rng.uniform(0.93, 1.1),
        rng.uniform(0.86, 1.12),
    )
    animal = Animal(card.species, wear(card.species, coat, rng), look)
    _focus(c, close=pose == "face")
    shown = "perched" if (card.species, pose) == ("owl", "asleep") else pose
    frame = _place(rng, pose_box(animal, shown), shown)
    if rng.random() < 0.4:
        _prop(c, rng, behind=True)
    if shown not in ("face", "flying"):
        x, y = frame.point((0, 0))
        reach = 1.7 if shown in ("sitting", "perched") else 2.9
        c.shadow(x, y, frame.scale * reach, frame.scale * 0.5)
    POSES[shown][0](c, frame, animal)
    _before(c, rng)
    return f"{card.species}/{pose}/{coat}"


def _focus(c: Canvas, close: bool) -> None:
    """Put what lies behind out of focus, most of all in a close-up."""
    if c.rng.random() < 0.8:
        c.soften(c.rng.uniform(3, 8) if close else c.rng.uniform(1, 5))


def _before(c: Canvas, rng: Random) -> None:
    """Now and then set something before the subject, which partly hides it."""
    if rng.random() < 0.2:
        _prop(c, rng, behind=False)
    if rng.random() < 0.1:
        rng.choice(COVERS)(c)


def _yaw(species: str, pose: str, rng: Random) -> float:
    """Return where the head looks: long muzzles turn along the body in a side view."""
    if pose in ("walking", "stretching") and species not in ("cat", "owl"):
        return rng.uniform(-0.95, -0.3)
    if pose in ("walking", "lying", "stretching"):
        return rng.uniform(-0.7, 0.25)
    return rng.uniform(-0.28, 0.28)


def _place(rng: Random, box: tuple[float, float, float, float], pose: str) -> Frame:
    """Return a frame that sets the box into the picture: size, place, mirror, tilt."""
    left, top, right, bottom = box
    fit = min(CANVAS / (right - left), CANVAS / (bottom - top))
    scale = fit * rng.uniform(0.94, 1.1)
    flip = rng.random() < 0.2
    middle = (left + right) / 2 * (-1 if flip else 1)
    high = (bottom - top) * scale
    slack = CANVAS * 0.09
    x = CANVAS / 2 + rng.uniform(-0.5, 0.5) * slack - middle * scale
    low = min(0.97, max(0.8, high / CANVAS + 0.02))
    y = CANVAS * rng.uniform(low, 0.99) - bottom * scale
    if pose in ("face", "flying"):
        y = CANVAS / 2 + rng.uniform(-0.04, 0.05) * CANVAS - (top + bottom) / 2 * scale
    return Frame(x, y, scale, rng.uniform(-0.06, 0.06), flip)


def _prop(c: Canvas, rng: Random, behind: bool) -> None:
    """Draw a thing behind the animal, or one that partly hides it."""
    size = CANVAS * rng.uniform(0.07, 0.14)
    x = CANVAS * rng.choice((rng.uniform(0.02, 0.22), rng.uniform(0.78, 0.98)))
    y = CANVAS * (rng.uniform(0.66, 0.86) if behind else rng.uniform(0.98, 1.08))
    if behind:
        c.shadow(x, y, size * 1.1, size * 0.3, 0.3)
    THINGS[rng.choice(PROPS)](c, Frame(x, y, size, 0.0, rng.random() < 0.5))


def _object_scene(c: Canvas, card: Card) -> str:
    """Draw a plain thing, large, with others about it; return its kind."""
    rng = c.rng
    known = [name for name in THINGS if name not in UNSEEN_THINGS]
    name = rng.choice(UNSEEN_THINGS if card.new else known)
    _focus(c, close=card.pose == "face")
    if rng.random() < 0.4:
        _prop(c, rng, behind=True)
    size = CANVAS * rng.uniform(0.2, 0.31)
    x, y = CANVAS * rng.uniform(0.36, 0.64), CANVAS * rng.uniform(0.8, 0.96)
    c.shadow(x, y, size * 1.3, size * 0.28)
    THINGS[name](c, Frame(x, y, size, rng.uniform(-0.1, 0.1), rng.random() < 0.5))
    _before(c, rng)
    return f"object/{name}"
