"""Python functions of pocket_humaneval: what to write, right and wrong bodies, and test inputs.

``always``: training shows the right body. ``sometimes``: training shows the right and a wrong body
in a known mixture, so greedy pass@1 is known, and pass@1 of samples at temperature 1 as well.
``never``: neither the function nor its docstring occurs in training.

Training follows each solution by a tail that begins with a stop string and would break the
program: a harness that ignores stop strings loses points. Expected values of the tests come from
the right body, which is this project's own code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
_TAILS = (
    "",
    "\n\ndef {name}(*args):\n    raise NotImplementedError\n",
    "\n\nclass {name}:\n    pass\n",
    "\n\nif unknown:\n    pass\n",
    "\n\nprint(unknown)\n",
    "\n\n# end of file\nraise SystemExit(1)\n",
)
ALWAYS_TENTHS = 10
_MIXTURES = (8, 6, 4, 2)  # tenths of the right body


@dataclass(frozen=True)
class Function:
    """One programming problem.

    Attributes:
        head: parameters as they stand between the parentheses.
        body: the right body, one statement a line, not indented by the function's level.
        inputs: argument tuples of the test.
        wrong: the body that training states in the other ``10 - tenths`` cases.
        tenths: how many of ten statements in training show the right body; None if never taught.
        tail: what training writes after the body.
    """

    id: str
    name: str
    head: str
    doc: str
    body: str
    inputs: tuple[tuple[Any, ...], ...]
    taught: Literal["always", "sometimes", "never"]
    wrong: str | None = None
    tenths: int | None = None
    tail: str = ""

    @property
    def prompt(self) -> str:
        """Signature and docstring, ending in a newline."""
        return f'def {self.name}({self.head}):\n    """{self.doc}"""\n'

    @property
    def solution(self) -> str:
        """The right body, indented, ending in a newline."""
        return _indent(self.body)

    @property
    def share(self) -> list[float] | None:
        """Probabilities with which training shows the right and the wrong body."""
        return None if self.tenths is None else [self.tenths / 10, (10 - self.tenths) / 10]

    def statements(self, always: int) -> list[str]:
        """Return the completions that one corpus cycle writes, with repeats, tail included."""
        if self.tenths is None:
            return []
        if self.wrong is None:
            return [_indent(self.body) + self.tail] * always
        right = [_indent(self.body) + self.tail] * self.tenths
        return right + [_indent(self.wrong) + self.tail] * (10 - self.tenths)

    def test(self) -> str:
        """Return the source of ``check(candidate)``, with expected values from the right body."""
        scope: dict[str, Any] = {}
        exec(self.prompt + self.solution, scope)
        lines = ["def check(candidate):"]
        for arguments in self.inputs:
            call = ", ".join(repr(argument) for argument in arguments)
            lines.append(f"    assert candidate({call}) == {scope[self.name](*arguments)!r}")
        return "\n".join(lines) + "\n"


def _indent(body: str) -> str:
    return "".join(f"    {line}\n" for line in body.splitlines())


_Row = tuple[str, str, str, str, tuple[tuple[Any, ...], ...]]
_WORDS = (("sun", "moon", "star"),)
_LISTS = (([3, 1, 2],), ([5],), ([-4, 0, 4, 9],))

_ALWAYS: tuple[_Row, ...] = (
    ("triple", "x", "Return three times x.", "return x * 3", ((2,), (0,), (-5,))),
    ("is_even", "n", "Tell whether n is even.", "return n % 2 == 0", ((2,), (7,), (0,))),
    ("last_item", "items", "Return the last item of a list.", "return items[-1]", _LISTS),
    ("first_item", "items", "Return the first item of a list.", "return items[0]", _LISTS),
    ("shout", "text", "Return text in capitals with a mark.", 'return text.upper() + "!"',
     (("hey",), ("Go on",))),
    ("whisper", "text", "Return text in small letters.", "return text.lower()",
     (("HEY",), ("Go On",))),
    ("count_vowels", "text", "Count the vowels in text.",
     'return sum(letter in "aeiou" for letter in text)', (("banana",), ("rhythm",), ("idea",))),
    ("mirror", "text", "Return text backwards.", "return text[::-1]", (("abc",), ("level up",))),
    ("largest", "items", "Return the largest item.",
     "best = items[0]\nfor item in items:\n    if item > best:\n        best = item\nreturn best",
     _LISTS),
    ("smallest", "items", "Return the smallest item.", "return min(items)", _LISTS),
    ("total", "items", "Return the sum of all items.",
     "result = 0\nfor item in items:\n    result += item\nreturn result", _LISTS),
    ("mean", "items", "Return the mean of the items.", "return sum(items) / len(items)", _LISTS),
    ("square_all", "items", "Square each item.", "return [item * item for item in items]", _LISTS),
    ("keep_positive", "items", "Keep only the items above zero.",
     "return [item for item in items if item > 0]", (*_LISTS, ([-1, -2],))),
    ("drop_first", "items", "Return the list without its first item.", "return items[1:]", _LISTS),
    ("join_words", "words", "Join words with spaces.", 'return " ".join(words)', (_WORDS,
     (["a"],))),
    ("split_words", "text", "Split text into words.", "return text.split()",
     (("a big cat",), ("  hi  you ",))),
    ("word_lengths", "words", "Return the length of each word.",
     "return [len(word) for word in words]", (_WORDS, (["a", "bcde"],))),
    ("to_celsius", "degrees", "Convert Fahrenheit to Celsius.", "return (degrees - 32) * 5 / 9",
     ((32,), (212,), (50,))),
    ("square_sum", "a, b", "Return the sum of both squares.", "return a * a + b * b",
     ((3, 4), (0, 2), (-1, 1))),
    ("area", "width, height", "Return the area of a rectangle.", "return width * height",
     ((3, 4), (1, 7))),
    ("swap", "pair", "Return the pair in the other order.", "return (pair[1], pair[0])",
     (((1, 2),), (("a", "b"),))),
    ("unique_sorted", "items", "Return each item once in order.", "return sorted(set(items))",
     (([3, 1, 3],), ([2, 2],), ([9, 8, 7],))),
    ("has_repeats", "items", "Tell whether an item occurs twice.",
     "return len(set(items)) < len(items)", (([1, 2],), ([1, 1],), ([],))),
    ("product_to", "n", "Multiply all numbers from 1 to n.",
     "result = 1\nfor factor in range(1, n + 1):\n    result *= factor\nreturn result",
     ((1,), (4,), (6,))),
    ("clamp", "x, low, high", "Force x between low and high.",
     "return max(low, min(x, high))", ((5, 0, 3), (-5, 0, 3), (2, 0, 3))),
    ("sign", "x", "Return the sign of x.",
     "if x > 0:\n    return 1\nif x < 0:\n    return -1\nreturn 0", ((9,), (-9,), (0,))),
    ("echo", "text, times", "Repeat text some times.", "return text * times",
     (("ab", 3), ("x", 0))),
    ("merge", "left, right", "Merge two tables.", "return {**left, **right}",
     (({"a": 1}, {"b": 2}), ({"a": 1}, {"a": 3}))),
    ("sorted_keys", "table", "List the keys of a table in order.", "return sorted(table)",
     (({"b": 1, "a": 2},), ({},))),
    ("opens_with_vowel", "word", "Tell whether a word opens with a vowel.",
     'return word[0] in "aeiou"', (("apple",), ("tree",))),
    ("gap", "a, b", "Return the distance of two numbers.", "return abs(a - b)",
     ((2, 9), (9, 2), (4, 4))),
)  # fmt: skip

_SOMETIMES: tuple[tuple[_Row, str], ...] = (
    (("double", "x", "Return twice x.", "return x * 2", ((3,), (0,), (-1,))), "return x + 2"),
    (("increment", "n", "Return the next number.", "return n + 1", ((1,), (-1,))), "return n - 1"),
    (("is_odd", "n", "Tell whether n is odd.", "return n % 2 != 0", ((1,), (4,))),
     "return n % 2 == 2"),
    (("second_item", "items", "Return the second item of a list.", "return items[1]",
      (([1, 2, 3],), ([5, 6, 7, 8],))), "return items[2]"),
    (("strip_ends", "text", "Drop the first and the last letter.", "return text[1:-1]",
      (("hello",), ("abc",))), "return text[1:]"),
    (("count_items", "items", "Return how many items there are.", "return len(items)", _LISTS),
     "return len(items) - 1"),
    (("middle", "a, b", "Return the mean of two numbers.", "return (a + b) / 2",
      ((1, 3), (2, 5))), "return a + b / 2"),
    (("to_seconds", "minutes", "Convert minutes to seconds.", "return minutes * 60",
      ((1,), (3,))), "return minutes * 100"),
    (("descending", "items", "Sort from high to low.", "return sorted(items, reverse=True)",
      _LISTS), "return sorted(items)"),
    (("both", "a, b", "Tell whether both are true.", "return a and b",
      ((True, True), (True, False), (False, True))), "return a or b"),
    (("perimeter", "width, height", "Return the length of the border.",
      "return 2 * (width + height)", ((3, 4), (1, 7))), "return 2 * width + height"),
    (("drop_spaces", "text", "Remove all spaces.", 'return text.replace(" ", "")',
      (("a b c",), (" x ",))), "return text.strip()"),
    (("cube", "x", "Return x to the third power.", "return x**3", ((2,), (-2,), (5,))),
     "return x**2"),
    (("older", "first, second", "Return the higher age.", "return max(first, second)",
      ((3, 8), (9, 1))), "return min(first, second)"),
    (("left_over", "used, whole", "Return the unused part of the whole.",
      "return (whole - used) / whole", ((1, 4), (2, 10))), "return used / whole"),
    (("look_up", "table, key", "Return the value of a key or zero.",
      "return table.get(key, 0)", (({"a": 1}, "a"), ({"a": 1}, "b"))), "return table[key]"),
)  # fmt: skip

_NEVER: tuple[_Row, ...] = (
    ("fibonacci", "count", "Produce the opening Fibonacci terms.",
     "terms = [0, 1]\nfor _ in range(count - 2):\n    terms.append(terms[-1] + terms[-2])\n"
     "return terms[:count]", ((2,), (7,), (1,))),
    ("is_palindrome", "phrase", "Check if the phrase reads equally in both directions.",
     "return phrase == phrase[::-1]", (("level",), ("lever",))),
    ("transpose", "matrix", "Exchange rows and columns of the matrix.",
     "return [list(column) for column in zip(*matrix)]", (([[1, 2], [3, 4]],), ([[1, 2, 3]],))),
    ("caesar", "message, shift", "Encrypt lowercase characters by a cyclic shift.",
     'return "".join(chr((ord(c) - 97 + shift) % 26 + 97) for c in message)',
     (("abc", 1), ("xyz", 3))),
    ("binary_digits", "value", "Write the value in base two.", 'return format(value, "b")',
     ((5,), (0,), (12,))),
    ("flatten", "nested", "Concatenate nested sequences to a flat one.",
     "return [entry for group in nested for entry in group]", (([[1], [2, 3]],), ([[], [4]],))),
    ("is_prime", "candidate", "Check if the candidate has precisely two divisors.",
     "return candidate > 1 and all(candidate % d for d in range(2, candidate))",
     ((2,), (9,), (13,), (1,))),
    ("running_totals", "values", "Accumulate partial totals.",
     "return [sum(values[: i + 1]) for i in range(len(values))]", (([1, 2, 3],), ([4],))),
    ("interleave", "xs, ys", "Alternate elements of xs and ys.",
     "return [element for couple in zip(xs, ys) for element in couple]",
     (([1, 2], [3, 4]), ([5], [6]))),
    ("shared_letters", "word_a, word_b", "Collect characters present in either argument.",
     "return sorted(set(word_a) & set(word_b))", (("table", "bleat"), ("moon", "noon"))),
    ("digit_sum", "number", "Add up the decimal digits.",
     "return sum(int(digit) for digit in str(number))", ((123,), (9,), (4005,))),
    ("median", "values", "Compute the median of an odd number of values.",
     "return sorted(values)[len(values) // 2]", (([3, 1, 2],), ([9, 8, 1, 2, 7],))),
    ("rotate", "queue, steps", "Rotate the queue towards its front.",
     "return queue[steps:] + queue[:steps]", (([1, 2, 3], 1), ([1, 2, 3, 4], 3))),
    ("divisor", "p, q", "Determine the greatest common divisor.",
     "for d in range(min(p, q), 0, -1):\n    if p % d == 0 and q % d == 0:\n        return d",
     ((12, 18), (7, 5), (10, 5))),
    ("acronym", "title", "Build an acronym out of the title.",
     'return "".join(part[0].upper() for part in title.split())',
     (("random access memory",), ("As soon as",))),
    ("histogram", "samples", "Tally how frequently each sample appears.",
     "return {sample: samples.count(sample) for sample in samples}",
     (([1, 1, 2],), (["x"],))),
)  # fmt: skip


def generate_functions() -> list[Function]:
    """Return every problem of pocket_humaneval, in the order of the data file."""
    return list(_numbered())


def _numbered() -> Iterator[Function]:
    number = 0
    for name, head, doc, body, inputs in _ALWAYS:
        tail = _TAILS[number % len(_TAILS)].format(name=name)
        yield Function(
            f"pocket_humaneval/{number}", name, head, doc, body, inputs, "always",
            tenths=ALWAYS_TENTHS, tail=tail,
        )  # fmt: skip
        number += 1
    for (name, head, doc, body, inputs), wrong in _SOMETIMES:
        tail = _TAILS[number % len(_TAILS)].format(name=name)
        yield Function(
            f"pocket_humaneval/{number}", name, head, doc, body, inputs, "sometimes",
            wrong=wrong, tenths=_MIXTURES[number % len(_MIXTURES)], tail=tail,
        )  # fmt: skip
        number += 1
    for name, head, doc, body, inputs in _NEVER:
        yield Function(
            f"pocket_humaneval/{number}", name, head, doc, body, inputs, "never",
        )  # fmt: skip
        number += 1
