"""Words that carry an answer, or a part of it, and so are compared and never dropped."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A group holds senses that exclude each other: 2% profit is no 2% loss.
_GROUPS: dict[str, dict[str, str]] = {
    "change": {
        "+": "profit gain gained gains increase increased increases rise rises rose raise growth"
        " grew surplus up upward upwards more greater higher additional extra above ahead markup"
        " deposit credit",
        "-": "loss lost losses decrease decreased decreases fall falls fell drop dropped drops"
        " reduction reduced decline declined deficit down downward downwards fewer less lower"
        " below behind discount off withdrawal debit",
    },
    "age": {"+": "older elder", "-": "younger"},
    "height": {"+": "taller", "-": "shorter"},
    "length": {"+": "longer", "-": "shorter"},
    "speed": {"+": "faster quicker", "-": "slower"},
    "mass": {"+": "heavier", "-": "lighter"},
    "heat": {"+": "warmer hotter", "-": "colder cooler"},
    "size": {"+": "bigger larger", "-": "smaller"},
    "width": {"+": "wider", "-": "narrower"},
    "depth": {"+": "deeper", "-": "shallower"},
    "price": {"+": "costlier dearer", "-": "cheaper"},
    "order": {"+": "after later late", "-": "before earlier early ago"},
    "distance": {"+": "farther further", "-": "nearer closer"},
    "place": {"+": "inside indoors", "-": "outside outdoors"},
    "coin": {"+": "heads head", "-": "tails tail"},
    "contest": {"+": "win wins won", "-": "loss losses lost", "0": "draw draws tie ties"},
    "sign": {"+": "positive", "-": "negative"},
    "parity": {"+": "even", "-": "odd"},
    "way": {
        "left": "left leftward leftwards",
        "right": "right rightward rightwards",
        "up": "up upward upwards",
        "down": "down downward downwards",
        "forward": "forward forwards",
        "back": "back backward backwards",
    },
    "turn": {
        "+": "clockwise cw",
        "-": "counterclockwise anticlockwise ccw",
    },
    "era": {"ad": "ad ce", "bc": "bc bce"},
    "half day": {"am": "am", "pm": "pm"},
    "tax": {"+": "gross", "-": "net"},
}
_COMPASS = {"n": "north", "e": "east", "s": "south", "w": "west"}

Sense = tuple[str, str]  # a group, and a sense in it


def _senses() -> dict[str, frozenset[Sense]]:
    found: dict[str, frozenset[Sense]] = {}
    for group, senses in _GROUPS.items():
        for sense, words in senses.items():
            for word in words.split():
                found[word] = found.get(word, frozenset()) | {(group, sense)}
    for letters in ("n", "e", "s", "w", "ne", "nw", "se", "sw"):
        point = frozenset(("compass", letter) for letter in letters)
        name = "".join(_COMPASS[letter] for letter in letters)
        for suffix in ("", "ward", "wards", "ern", "erly"):
            found[name + suffix] = point
    return found


SENSES = _senses()
# Short for a point of the compass where they stand behind a unit, or alone.
COMPASS = {
    letters: "".join(_COMPASS[letter.lower()] for letter in letters)
    for letters in ("N", "E", "S", "W", "NE", "NW", "SE", "SW")
}

MULTIPLIERS = {
    "dozen": 12,
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "lakh": 10**5,
    "crore": 10**7,
}

# Words that make another value of the number beside them, in a way that no rule here reads.
CHANGING = _words(
    "half halves third thirds quarter quarters fourth fourths fifth fifths sixth sixths tenth"
    " tenths hundredth hundredths thousandth thousandths squared cubed factorial base mod modulo"
    " choose plus minus times over and or not to by than least most between sin cos tan cot sec csc"
    " log ln exp sqrt root score scores"
)

# As variables their order would not matter, as words it does.
SHORT_WORDS = _words("no on so go do up to of in is it at am an as be he we us me my by or if ox")

# Words that may stand before a number and say nothing about it.
OPENING = _words(
    "about approximately approx around roughly exactly only is equals a an the of total number no"
    " answer it by"
)


def contradict(left: frozenset[Sense], right: frozenset[Sense]) -> bool:
    """Returns whether both sides name a sense of one group, and not the same."""
    groups = {group for group, _ in left} & {group for group, _ in right}
    return any(
        {sense for group, sense in left if group == each}
        != {sense for group, sense in right if group == each}
        for each in groups
    )
