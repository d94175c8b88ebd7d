"""Arbitrary Unicode for property tests: any code point, and what goes wrong where code points belong together.

Lone surrogates are no text (they have no UTF-8): reading quarantines them, so no tokenizer ever sees one.
"""

import string

from hypothesis import strategies as st

CHINESE = "的一是了我不在人有他这中大来上国个到说们为，。：；？！“”…《》（）—·　〇々㐀𠮷龘"

CLUSTERS = (
    # Joiners, variation selectors, skin tones, flags, key caps.
    "👩\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "👍🏽", "🇨🇳", "1\ufe0f\u20e3",
    # Combining marks, also in an order that NFC changes; Hangul taken apart.
    "e\u0301", "c\u0302\u0327", "Z\u0351\u036b\u0343", "\u1100\u1161\u11a8", "क्षि", "ไทย์",
    # Marks on Han, and on nothing.
    "葛\U000e0100", "侮\ufe00", "中\u0301", "\u0301", "\u200d", "\ufe0f",
    # What NFC or NFKC makes something else of.
    "\uf900", "\U0002f800", "\u2f08", "\u337b", "\u2329", "\uff8a\uff9e", "\ufb01", "\u212b",
    # Private use; controls and noncharacters; direction; spaces that are none.
    "\ue000", "\uf8ff", "\U000f0000", "\U0010fffd", "\0", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "\U0010ffff",
    "\ufffd", "\u202eabc\u202c", "\u061c", "\xa0", "\u200b", "\u3000", "\u2003",
    # What tokenizers treat by itself.
    "\r\n", "\n\n", "\t", "  ", "    ", " 。", "▁", "▁▁", "<0x0A>", "<0xE4>",
)  # fmt: skip

UNICODE = st.lists(
    st.one_of(
        st.sampled_from(CHINESE),
        st.sampled_from(string.printable),
        st.sampled_from(CLUSTERS),
        st.characters(exclude_categories=("Cs",)),
    )
).map("".join)

REPETITIVE = st.text(st.sampled_from("哈他说的，。“ ▁x1\n"), max_size=60)
"""Few signs many times over: ties between merges, runs of spaces."""

TEXTS = st.one_of(UNICODE, REPETITIVE)
