"""Characters that look like the marks around outside text, or like nothing. Generated: do not edit.

Written by tests/views/look_alikes.py from Unicode's character names and its list of confusables.
"""

from __future__ import annotations

DOUBLE = (
    "\u00ab\u00bb\u226a\u226b\u22d8\u22d9\u2770\u2771\u27ea\u27eb\u2991\u2992\u2993\u2994\u2995\u2996\u29fc\u29fd"
    "\u2aa1\u2aa2\u2aa3\u2abb\u2abc\u2af7\u2af8\u300a\u300b\ufe3d\ufe3e"
)
"""They look like one of our marks by themselves."""

OPENING = (
    "\u003c\u02c2\u1438\u16b2\u2039\u227a\u2329\u276c\u276e\u27e8\u3008\u31db\ufe3f\ufe64\uff1c\U0001d236\U00021fe8"
)
"""Two of them next to each other look like an opening mark."""

CLOSING = "\u003e\u02c3\u1433\u203a\u227b\u232a\u276d\u276f\u27e9\u3009\ufe40\ufe65\uff1e\U00016f3f\U0001d237"
"""Two of them next to each other look like a closing mark."""

UNSEEN = (
    "\u034f\u115f-\u1160\u17b4-\u17b5\u180b-\u180d\u180f\u2800\u2d7f\u3164\ufe00-\ufe0f\uffa0\ufffc\U0001107f"
    "\U00016fe4\U0001d159\U0001da7f-\U0001da80\U000e0100-\U000e01ef"
)
"""Letters, marks or symbols of which nothing is seen, as a class of a regular expression."""

ENTITIES = (
    "ApplyFunction;|Gg;|GreaterGreater;|Gt;|InvisibleComma;|InvisibleTimes;|Lang;|LeftAngleBracket;|LessLess;|Ll;|"
    "Lt;|NegativeMediumSpace;|NegativeThickSpace;|NegativeThinSpace;|NegativeVeryThinSpace;|NestedGreaterGreater;|"
    "NestedLessLess;|NewLine;|NoBreak;|NotGreaterGreater;|NotLessLess;|NotNestedGreaterGreater;|NotNestedLessLess;|"
    "Pr;|Precedes;|Rang;|RightAngleBracket;|Sc;|Succeeds;|Tab;|ZeroWidthSpace;|af;|caps;|cups;|gesl;|gg;|ggg;|"
    "gtlPar;|gvertneqq;|gvnE;|ic;|it;|lang;|langd;|langle;|laquo|laquo;|lates;|lesg;|ll;|lparlt;|lrm;|lsaquo;|"
    "ltrPar;|lvertneqq;|lvnE;|nGg;|nGt;|nGtv;|nLl;|nLt;|nLtv;|pr;|prec;|rang;|rangd;|rangle;|raquo|raquo;|rlm;|"
    "rpargt;|rsaquo;|sc;|shy|shy;|smtes;|sqcaps;|sqcups;|succ;|varsubsetneq;|varsubsetneqq;|varsupsetneq;|"
    "varsupsetneqq;|vsubnE;|vsubne;|vsupnE;|vsupne;|zwj;|zwnj;"
)
"""HTML entities that stand for one of these, or for what cannot be seen, as a regular expression."""
