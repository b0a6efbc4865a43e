"""The wardrobe: which coats each animal has, how common they are, and which are new in the test."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from .brush import vary
from .coats import INK, WHITE, Coat

GREEN, AMBER, BLUE = (150, 186, 74), (222, 168, 48), (96, 160, 216)
CAT_EYES = (GREEN, AMBER, (196, 190, 70), (208, 130, 52), (120, 190, 150))
BROWN_EYE, GOLD = (70, 40, 22), (238, 180, 40)
NOSE_DARK = (34, 28, 28)

CATS = {
    "tabby": Coat("tabby", (140, 122, 102), (206, 192, 174), (62, 52, 46), "stripes", eye=GREEN),
    "silver-tabby": Coat(
        "silver-tabby", (152, 154, 158), (216, 216, 214), (64, 64, 70), "stripes", eye=GREEN
    ),
    "ginger": Coat("ginger", (206, 138, 72), (238, 208, 170), (160, 88, 38), "stripes", eye=AMBER),
    "tuxedo": Coat("tuxedo", (46, 44, 50), WHITE, pattern="bib", eye=GREEN),
    "calico": Coat("calico", WHITE, WHITE, (198, 122, 58), "patches", (56, 50, 50), eye=AMBER),
    "siamese": Coat(
        "siamese",
        (226, 208, 182),
        (232, 218, 198),
        (82, 62, 54),
        "points",
        eye=BLUE,
        nose=(70, 50, 48),
    ),
    "black": Coat("black", (48, 46, 50), (56, 54, 58), eye=AMBER, nose=(60, 50, 52)),
    "white": Coat("white", (232, 228, 222), (240, 236, 232), eye=BLUE),
    "grey": Coat("grey", (122, 128, 140), (138, 144, 154), eye=AMBER, nose=(96, 92, 100)),
    "cream": Coat("cream", (222, 190, 148), (238, 216, 186), eye=AMBER),
    "grey-van": Coat("grey-van", WHITE, WHITE, (112, 116, 126), "van", eye=GREEN),
    "tortie": Coat(
        "tortie",
        (70, 56, 48),
        (96, 76, 60),
        (176, 104, 48),
        "patches",
        (150, 92, 48),
        eye=AMBER,
        nose=(80, 60, 58),
    ),
}
DOGS = {
    "golden": Coat("golden", (204, 154, 92), (226, 188, 136), eye=BROWN_EYE, nose=NOSE_DARK),
    "brown": Coat("brown", (116, 76, 50), (134, 94, 66), eye=BROWN_EYE, nose=(58, 38, 32)),
    "black": Coat("black", (48, 46, 48), (60, 56, 56), eye=BROWN_EYE, nose=NOSE_DARK),
    "white": Coat("white", (230, 226, 218), (238, 234, 228), eye=BROWN_EYE, nose=NOSE_DARK),
    "grey": Coat("grey", (126, 128, 134), (146, 146, 150), eye=AMBER, nose=(60, 56, 60)),
    "beagle": Coat(
        "beagle", (196, 136, 80), WHITE, (66, 48, 40), "saddle", eye=BROWN_EYE, nose=NOSE_DARK
    ),
    "brindle": Coat(
        "brindle",
        (138, 104, 74),
        (168, 136, 104),
        (70, 52, 40),
        "stripes",
        eye=BROWN_EYE,
        nose=NOSE_DARK,
    ),
    "spotted": Coat("spotted", WHITE, WHITE, (44, 42, 44), "spots", eye=BROWN_EYE, nose=NOSE_DARK),
    "bib": Coat("bib", (50, 46, 48), WHITE, pattern="bib", eye=BROWN_EYE, nose=NOSE_DARK),
    "patched": Coat(
        "patched",
        WHITE,
        WHITE,
        (178, 112, 62),
        "patches",
        (70, 54, 46),
        eye=BROWN_EYE,
        nose=NOSE_DARK,
    ),
}
RABBITS = {
    "brown": Coat("brown", (146, 112, 82), (190, 164, 136), eye=(50, 32, 24)),
    "white": Coat("white", (234, 230, 226), (242, 238, 236), eye=(120, 40, 44)),
    "grey": Coat("grey", (132, 132, 138), (168, 168, 172), eye=(40, 32, 32)),
    "black": Coat("black", (52, 48, 50), (64, 60, 62), eye=(30, 22, 20)),
    "dutch": Coat("dutch", (74, 60, 54), WHITE, pattern="bib", eye=(36, 26, 24)),
    "harlequin": Coat(
        "harlequin", (204, 150, 92), (224, 186, 142), (92, 66, 50), "stripes", eye=(44, 30, 24)
    ),
    "cream": Coat("cream", (220, 190, 150), (236, 216, 190), eye=(60, 34, 26)),
}
BEARS = {
    "brown": Coat("brown", (112, 76, 50), (162, 124, 88), eye=INK, nose=NOSE_DARK),
    "black": Coat("black", (50, 46, 48), (120, 98, 78), eye=INK, nose=NOSE_DARK),
    "white": Coat("white", (226, 222, 210), (236, 234, 226), eye=INK, nose=NOSE_DARK),
    "grey": Coat("grey", (120, 114, 110), (168, 158, 146), eye=INK, nose=NOSE_DARK),
    "panda": Coat(
        "panda", (228, 226, 220), (232, 230, 226), (46, 44, 46), "panda", eye=INK, nose=NOSE_DARK
    ),
}
FOXES = {
    "red": Coat("red", (204, 108, 48), WHITE, (58, 40, 34), eye=AMBER, nose=NOSE_DARK),
    "arctic": Coat(
        "arctic", (228, 228, 230), (242, 242, 242), (170, 170, 178), eye=AMBER, nose=NOSE_DARK
    ),
    "grey": Coat("grey", (134, 128, 124), (222, 214, 202), (60, 54, 54), eye=AMBER, nose=NOSE_DARK),
    "silver": Coat(
        "silver", (62, 62, 68), (150, 150, 154), (34, 32, 36), eye=AMBER, nose=NOSE_DARK
    ),
}
MICE = {
    "grey": Coat("grey", (136, 132, 134), (188, 182, 180), eye=INK),
    "brown": Coat("brown", (148, 112, 80), (208, 186, 160), eye=INK),
    "white": Coat("white", (234, 230, 226), (242, 238, 234), eye=(130, 40, 44)),
    "black": Coat("black", (56, 52, 54), (74, 68, 70), eye=INK),
    "hooded": Coat("hooded", WHITE, WHITE, (92, 74, 62), "van", eye=INK),
}
OWLS = {
    "brown": Coat(
        "brown",
        (126, 92, 62),
        (206, 180, 144),
        (70, 48, 34),
        "stripes",
        eye=GOLD,
        nose=(70, 60, 50),
    ),
    "grey": Coat(
        "grey",
        (132, 128, 126),
        (196, 192, 188),
        (70, 68, 70),
        "stripes",
        eye=GOLD,
        nose=(210, 180, 80),
    ),
    "snowy": Coat(
        "snowy",
        (232, 230, 226),
        (242, 240, 236),
        (120, 116, 114),
        "spots",
        eye=GOLD,
        nose=(50, 46, 46),
    ),
    "barn": Coat(
        "barn",
        (204, 158, 100),
        (240, 230, 214),
        (150, 108, 62),
        "spots",
        eye=(40, 28, 24),
        nose=(200, 160, 130),
    ),
}
COATS = {
    "cat": CATS,
    "dog": DOGS,
    "rabbit": RABBITS,
    "bear": BEARS,
    "fox": FOXES,
    "mouse": MICE,
    "owl": OWLS,
}

# How often a coat is worn, where it is not once: common coats are common, rare ones rare.
SHARES = {
    "cat": {"tabby": 4, "silver-tabby": 4, "tuxedo": 2, "black": 2, "grey": 4, "siamese": 2},
    "dog": {"golden": 5, "brown": 5, "beagle": 3, "brindle": 3},
    "rabbit": {"brown": 5, "harlequin": 3},
    "bear": {"brown": 6},
    "fox": {"red": 6},
    "mouse": {"brown": 4, "grey": 2},
    "owl": {"brown": 4},
}

# Coats that only the test set shows.
UNSEEN = {
    "cat": ("grey-van", "tortie"),
    "dog": ("patched",),
    "rabbit": ("cream",),
    "bear": ("panda",),
    "fox": ("silver",),
    "mouse": ("hooded",),
    "owl": ("barn",),
}


def wear(species: str, name: str, rng: Random) -> Coat:
    """Return one animal's own shade of a coat."""
    coat = COATS[species][name]
    dark = sum(coat.base) < 220
    own_eye = species == "cat" and coat.eye != BLUE and rng.random() < 0.5
    eye = rng.choice(CAT_EYES) if own_eye else coat.eye
    return replace(
        coat,
        eye=eye,
        base=vary(coat.base, rng, 8 if dark else 18),
        belly=vary(coat.belly, rng, 6),
        mark=vary(coat.mark, rng, 8),
        second=vary(coat.second, rng, 8),
    )
