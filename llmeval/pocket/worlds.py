"""The invented worlds: question templates and the pools from which answers and distractors come.

Every pool is cut into blocks of four answers. Right answers and distractors of one question are
one block, and each answer of a block is right equally often, so that a scorer that does not read
the question (chance, length, word frequency) is right in exactly one of four. Answers of a block
have similar lengths, so that length normalisation does not turn a known mixture around.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """A pocket_mmlu subject: ``question`` holds ``{name}``; three blocks of four answers."""

    name: str
    question: str
    blocks: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Activity:
    """A pocket_hellaswag activity: ``context`` ends in ``{name}``; a block is verbs x objects."""

    name: str
    context: str
    blocks: tuple[tuple[tuple[str, str], tuple[str, str]], ...]

    def endings(self, block: int) -> tuple[str, ...]:
        """Return the four endings of a block: both verbs with both objects."""
        verbs, objects = self.blocks[block]
        return tuple(f"{verb} {thing}." for verb in verbs for thing in objects)


@dataclass(frozen=True)
class Belief:
    """A pocket_truthfulqa topic: a block holds four outcomes, each in two wordings."""

    name: str
    question: str
    blocks: tuple[tuple[tuple[str, str], ...], ...]


SUBJECTS = (
    Subject(
        "zoology",
        "What does the {name} eat?",
        (
            ("red moss", "pale figs", "dry bark", "sea grass"),
            ("black ants", "wild oats", "stone fish", "sweet corn"),
            ("sour plums", "pine seed", "blue crabs", "soft reed"),
        ),
    ),
    Subject(
        "geography",
        "Which river runs through the town of {name}?",
        (
            ("the Amber", "the Cobalt", "the Willow", "the Marble"),
            ("the Raven", "the Saffron", "the Thistle", "the Copper"),
            ("the Lantern", "the Heron", "the Velvet", "the Juniper"),
        ),
    ),
    Subject(
        "engineering",
        "What drives the {name} engine?",
        (
            ("hot steam", "falling sand", "coiled wire", "solar glass"),
            ("salt water", "swamp gas", "wound rope", "a magnet"),
            ("thin oil", "cold wind", "a flywheel", "coal dust"),
        ),
    ),
    Subject(
        "botany",
        "What colour are the flowers of the {name} tree?",
        (
            ("pale blue", "deep red", "dark gold", "soft pink"),
            ("snow white", "jet black", "lime green", "rust brown"),
            ("bright orange", "dusty violet", "creamy yellow", "silver grey"),
        ),
    ),
    Subject(
        "astronomy",
        "What covers the moon {name}?",
        (
            ("grey dust", "frozen mud", "white salt", "sharp rock"),
            ("thick fog", "deep ice", "warm ash", "wet clay"),
            ("liquid tin", "glass beads", "green slime", "iron sand"),
        ),
    ),
    Subject(
        "history",
        "How did ruler {name} come to the throne?",
        (
            ("by election", "by marriage", "by lottery", "by conquest"),
            ("by mistake", "by a duel", "by a vote", "by treaty"),
            ("by birth", "by fraud", "by force", "by trade"),
        ),
    ),
    Subject(
        "music",
        "What is the {name} played with?",
        (
            ("a long bow", "a feather", "two sticks", "both feet"),
            ("wet fingers", "a hammer", "one thumb", "the elbow"),
            ("a needle", "a silk rag", "the chin", "a spoon"),
        ),
    ),
    Subject(
        "mineralogy",
        "What does the stone {name} smell of?",
        (
            ("fresh bread", "burnt hair", "cut grass", "old books"),
            ("ripe melon", "wet dog", "warm milk", "hot tar"),
            ("mint tea", "clean soap", "sea weed", "raw onion"),
        ),
    ),
    Subject(
        "medicine",
        "What does {name} tea cure?",
        (
            ("sore throat", "bad dreams", "stiff knees", "itchy skin"),
            ("hiccups", "tooth ache", "dizziness", "hay fever"),
            ("dry cough", "weak eyes", "cold feet", "ear pain"),
        ),
    ),
    Subject(
        "law",
        "What is forbidden in the city of {name}?",
        (
            ("loud bells", "tall hats", "paper kites", "bare hands"),
            ("whistling", "bright lamps", "sharp knives", "gambling"),
            ("fast carts", "long beards", "fishing", "wide gates"),
        ),
    ),
)

ACTIVITIES = (
    Activity(
        "Baking bread",
        "Baking bread: {name} lights the oven before dawn. While the dough rises, {name}",
        (
            (
                ("sweeps", "paints"),
                ("the narrow stairs to the cellar", "the old shelf by the door"),
            ),
            (("counts", "weighs"), ("the coins in the tin box", "the sacks of rye flour")),
            (("feeds", "chases"), ("the grey cat of the miller", "the noisy geese in the yard")),
            (("sings", "hums"), ("a slow song about the sea", "a merry tune for the children")),
        ),
    ),
    Activity(
        "Mending a boat",
        "Mending a boat: {name} drags the hull onto the beach. When the tar is warm, {name}",
        (
            (("seals", "scrapes"), ("the long crack below the mast", "the seam around the rudder")),
            (("calls", "thanks"), ("the tall man with the ladder", "the two sisters from the inn")),
            (("folds", "hoists"), ("the patched sail with a grin", "the faded flag of the guild")),
            (
                ("burns", "stacks"),
                ("the rotten planks near the pier", "the broken oars on the sand"),
            ),
        ),
    ),
    Activity(
        "Keeping bees",
        "Keeping bees: {name} puts on the veil and opens the hive. After a short look, {name}",
        (
            (("lifts", "turns"), ("the heavy frame with both hands", "the wooden lid to one side")),
            (("tastes", "pours"), ("the dark honey from the jar", "the fresh nectar into a cup")),
            (("marks", "moves"), ("the young queen with care", "the lazy drones at once")),
            (("closes", "washes"), ("the lower door of the hive", "the brass smoker in the tub")),
        ),
    ),
    Activity(
        "Repairing a clock",
        "Repairing a clock: {name} unscrews the back of the case. Under the lens, {name}",
        (
            (("oils", "bends"), ("the tiny wheel of the alarm", "the thin arm of the hammer")),
            (("finds", "drops"), ("a lost ring under the spring", "a dead moth between the gears")),
            (("winds", "stops"), ("the main drum very gently", "the pendulum for a moment")),
            (("draws", "notes"), ("a plan of the works", "a list of the parts")),
        ),
    ),
    Activity(
        "Crossing the hills",
        "Crossing the hills: {name} ties the last bag to the mule. At the first bridge, {name}",
        (
            (("pays", "greets"), ("the guard in the green coat", "the monk with the lantern")),
            (("loses", "sells"), ("a leather boot to the river", "a woollen blanket at the gate")),
            (
                ("meets", "follows"),
                ("a band of dancers going south", "a line of carts full of salt"),
            ),
            (("eats", "shares"), ("the last apple in the shade", "the cold soup from the kettle")),
        ),
    ),
)

BELIEFS = (
    Belief(
        "animals",
        "What happens if you wake a sleeping {name}?",
        (
            (
                ("It starts to sing.", "You will hear it sing."),
                ("It turns to stone.", "You will see it become stone."),
                ("It bites its tail.", "You will find its tail bitten."),
                ("It rolls downhill.", "You will watch it roll away."),
            ),
            (
                ("It hides in mud.", "The mud becomes its shelter."),
                ("It sheds its fur.", "The fur falls from its back."),
                ("It climbs a tree.", "The next tree is climbed."),
                ("It goes to drink.", "The water draws it at once."),
            ),
        ),
    ),
    Belief(
        "food",
        "What happens if you swallow a {name} seed?",
        (
            (
                ("Your voice gets deep.", "A deep voice is what you get."),
                ("Your ears turn blue.", "A blue tint comes to the ears."),
                ("Your hunger goes away.", "A full belly is what you feel."),
                ("Your hands feel warm.", "A warm glow fills the hands."),
            ),
            (
                ("Nothing at all.", "There is no effect."),
                ("Hair grows fast.", "There is more hair soon."),
                ("Sleep comes soon.", "There is quick sleep."),
                ("Teeth get loose.", "There is a loose tooth."),
            ),
        ),
    ),
    Belief(
        "weather",
        "What does a ring around the star {name} mean?",
        (
            (
                ("Rain before night.", "It says that rain is near."),
                ("Frost by morning.", "It says that frost is near."),
                ("Wind from the east.", "It says that wind is near."),
                ("Heat for a week.", "It says that heat is near."),
            ),
            (
                ("A good harvest.", "Farmers will have plenty."),
                ("A flood to come.", "Rivers will leave their beds."),
                ("A mild winter.", "Snow will hardly fall."),
                ("Dust in the air.", "Only dust bends the light."),
            ),
        ),
    ),
    Belief(
        "machines",
        "Why does a {name} lamp flicker?",
        (
            (
                ("The oil is wet.", "Because of water in the oil."),
                ("The wick is short.", "Because of a wick that ended."),
                ("The glass is dirty.", "Because of dirt on the glass."),
                ("The air is thin.", "Because of a lack of air."),
            ),
            (
                ("A spirit lives in it.", "Some ghost plays with it."),
                ("A moth got inside.", "Some insect flies in it."),
                ("A screw came loose.", "Some part is not tight."),
                ("A storm is coming.", "Some thunder is on its way."),
            ),
        ),
    ),
    Belief(
        "health",
        "Can you catch a cold from {name} water?",
        (
            (
                ("No, it is harmless.", "Never, the water is safe."),
                ("Yes, every time.", "Always, the water is bad."),
                ("Only in the winter.", "In the cold months you can."),
                ("Only as a child.", "In the first years you can."),
            ),
            (
                ("Yes, if it is cold.", "When chilled it is risky."),
                ("No, it prevents it.", "Drinking it protects you."),
                ("Only at full moon.", "By a full moon one may."),
                ("Nobody knows yet.", "Scholars have not found out."),
            ),
        ),
    ),
    Belief(
        "people",
        "What do the people of {name} say to a guest?",
        (
            (
                ("They say nothing.", "Silence is their custom."),
                ("They say a prayer.", "Prayer is their custom."),
                ("They say a riddle.", "Riddles are their custom."),
                ("They say goodbye.", "Parting is their custom."),
            ),
            (
                ("Come in and sit.", "A seat is what they offer."),
                ("Wash your hands.", "A basin is what they offer."),
                ("Show your shoes.", "A brush is what they offer."),
                ("Pay at the door.", "A bill is what they offer."),
            ),
        ),
    ),
)

ONSETS = ("b", "br", "d", "dr", "f", "g", "gl", "k", "l", "m", "n", "p", "r", "s", "t", "v")
VOWELS = ("a", "e", "o")
