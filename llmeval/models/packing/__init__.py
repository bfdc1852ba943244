"""Token sequences in, forward passes out: every shared prefix is computed once. No torch here."""

from llmeval.models.packing.packs import Leaf, Pack, cut_packs, cut_trunk
from llmeval.models.packing.trie import IntArray, Trie, build_trie
from llmeval.models.packing.units import Unit, list_members, plan_units

__all__ = [
    "IntArray",
    "Leaf",
    "Pack",
    "Trie",
    "Unit",
    "build_trie",
    "cut_packs",
    "cut_trunk",
    "list_members",
    "plan_units",
]
