"""Build step results, one function per step type. Shapes: Extend API reference, StepRun results."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from extend_mcp.sandbox.engine import wire
from extend_mcp.sandbox.engine.run_plan import ResultBuilder, StepMoment
from extend_mcp.sandbox.engine.sample_documents import Document, Section
from extend_mcp.sandbox.engine.seeded_random import SeededRandom
from extend_mcp.sandbox.engine.validation import JsonObject

_PAGE = {"width": 612.0, "height": 792.0}
_PROCESSORS_CREATED = "2026-01-12T09:30:00.000Z"


@dataclass(frozen=True)
class Processor:
    """An extractor, classifier or splitter. Its IDs depend only on its name."""

    name: str

    def describe(self, kind: str, prefix: str, version_prefix: str) -> JsonObject:
        """Build the summaries of the processor and of the version that ran."""
        processor_id = prefix + _processor_token(kind, self.name)
        version = {
            "object": f"{kind}_version",
            "id": version_prefix + _processor_token(kind, self.name, "version"),
            "description": None,
            "version": "1.2",
            f"{kind}Id": processor_id,
            "createdAt": _PROCESSORS_CREATED,
        }
        summary = {
            "object": kind,
            "id": processor_id,
            "name": self.name,
            "createdAt": _PROCESSORS_CREATED,
            "updatedAt": _PROCESSORS_CREATED,
        }
        return {kind: summary, f"{kind}Version": version}


@dataclass(frozen=True)
class Check:
    """The outcome of a rule or validation block. `each` holds the outcome per item of an array."""

    name: str
    valid: bool
    each: tuple[bool, ...] = ()
    reasoning: str = ""


def parse(document: Document) -> ResultBuilder:
    """Build the parse result: one chunk per page with a heading and a text block."""

    def build(moment: StepMoment) -> JsonObject:
        run = wire.child_run("parse_run", "pr_", "parsing_performance", 2, moment)
        run["config"] = {
            "target": "markdown",
            "chunkingStrategy": {"type": "page"},
            "engine": "parse_performance",
        }
        if not moment.failure:
            duration = moment.ended_at - moment.started_at
            run["output"] = {"chunks": [_chunk(document, page) for page in range(1, document.pages + 1)]}
            run["metrics"] = {
                "processingTimeMs": int(duration.total_seconds() * 1000),
                "pageCount": document.pages,
            }
        return {"parseRun": run}

    return build


def classify(document: Document, classifications: list[JsonObject], chosen: str, reasoning: str) -> ResultBuilder:
    """Build the result of choosing one of the classifications, by its ID, for the whole file."""

    def build(moment: StepMoment) -> JsonObject:
        run = wire.processor_run("classify_run", "clr_", "classification", 1, moment)
        run |= Processor("Document Type").describe("classifier", "cl_", "clv_")
        run["config"] = {"classifications": classifications}
        if not moment.failure:
            run["output"] = {
                "id": chosen,
                "type": next((str(each["type"]) for each in classifications if each["id"] == chosen), chosen),
                "confidence": SeededRandom(document.name, "class").fraction(0.91, 0.995),
                "insights": [{"type": "reasoning", "content": reasoning}],
            }
        return {"classifyRun": run}

    return build


@dataclass(frozen=True)
class Part:
    """A part of a packet, with its file and its classification."""

    section: Section
    file: JsonObject
    classification_id: str


def split(parts: Sequence[Part], classifications: list[JsonObject]) -> ResultBuilder:
    """Build the result of splitting a packet into parts."""

    def build(moment: StepMoment) -> JsonObject:
        run = wire.processor_run("split_run", "splr_", "splitting", 1, moment)
        run |= Processor("Packet Splitter").describe("splitter", "sp_", "spv_")
        run["config"] = {"splitClassifications": classifications}
        if not moment.failure:
            run["output"] = {"splits": [_split_entry(part) for part in parts]}
        return {"splitRun": run}

    return build


def extract(name: str, processor: str, values: JsonObject) -> ResultBuilder:
    """Build an extraction of these values. `name` seeds their confidences."""

    def build(moment: StepMoment) -> JsonObject:
        run = wire.processor_run("extract_run", "exr_", "extraction_performance", 3, moment)
        run |= Processor(processor).describe("extractor", "ex_", "exv_")
        run["config"] = {"schema": _schema(values)}
        if not moment.failure:
            file_id = str(moment.file["id"])
            metadata = {path: _confidence(name, path, value, file_id) for path, value in _leaves(values)}
            run["output"] = {"value": values, "metadata": metadata}
        return {"extractRun": run}

    return build


def merge_extract(name: str, processors: Sequence[str], values: JsonObject) -> ResultBuilder:
    """Build the result of merging several extractions into one."""
    build_extract = extract(name, processors[0], values)

    def build(moment: StepMoment) -> JsonObject | None:
        result = build_extract(moment)
        described = [Processor(each).describe("extractor", "ex_", "exv_") for each in processors]
        merged = [
            {
                "id": each["extractor"]["id"],
                "versionId": each["extractorVersion"]["id"],
                "name": each["extractor"]["name"],
            }
            for each in described
        ]
        return {"mergedExtractors": merged} | (result or {})

    return build


def rules(checks: Sequence[Check]) -> ResultBuilder:
    """Build the outcome of formulas over extracted values."""
    entries = []
    for check in checks:
        entry: JsonObject = {"name": check.name, "valid": check.valid}
        if check.each:
            entry["validArray"] = list(check.each)
        if not check.valid:
            entry["failureReason"] = "RULE_FAILED"
        entries.append(entry)
    return _plain({"rules": entries, "allPassed": all(check.valid for check in checks)})


def validation(checks: Sequence[Check]) -> ResultBuilder:
    """Build the outcome of validation blocks, each with its reasoning."""
    blocks = [
        {
            "id": "block_" + SeededRandom(check.name).token(8),
            "name": check.name,
            "valid": check.valid,
            "reasoning": check.reasoning,
        }
        for check in checks
    ]
    return _plain({"valid": all(check.valid for check in checks), "blocks": blocks})


def route(branches: Sequence[tuple[str, str, str]], matched: str | None) -> ResultBuilder:
    """Build a routing over (id, name, reasoning) branches: evaluation stops at the first match."""
    ids = [branch_id for branch_id, _, _ in branches]
    seen = branches if matched is None else branches[: ids.index(matched) + 1]
    entries = [
        {"id": branch_id, "name": name, "matched": branch_id == matched, "reasoning": reasoning}
        for branch_id, name, reasoning in seen
    ]
    chosen = next(({"id": entry["id"], "name": entry["name"]} for entry in entries if entry["matched"]), None)
    return _plain({"matchedBranch": chosen, "branches": entries})


def external_response(status: int, data: JsonObject) -> ResultBuilder:
    """Build the response of the customer's own service."""
    return _plain({"response": {"status": status, "data": data}})


def _plain(result: JsonObject) -> ResultBuilder:
    return lambda moment: None if moment.failure else result


def _chunk(document: Document, page: int) -> JsonObject:
    content = document.page_text(page)
    heading, _, rest = content.partition("\n\n")
    least, average = _page_confidence(document.name, page)
    ocr = {"minOcrConfidence": least, "avgOcrConfidence": average}
    blocks = [
        _block(f"{page}-1", "heading", heading.lstrip("# "), page, 40.0, ocr),
        _block(f"{page}-2", "text", rest or heading, page, 110.0, ocr),
    ]
    return {
        "object": "chunk",
        "type": "page",
        "content": content,
        "metadata": {"pageRange": {"start": page, "end": page}} | ocr,
        "blocks": blocks,
    }


def _block(block_id: str, kind: str, content: str, page: int, top: float, ocr: JsonObject) -> JsonObject:
    box = {"left": 54.0, "top": top, "right": 558.0, "bottom": top + 60.0}
    return {
        "object": "block",
        "id": f"block_{block_id}",
        "type": kind,
        "content": content,
        "details": {},
        "metadata": {"page": {"number": page} | _PAGE} | ocr,
        "polygon": _corners(box),
        "boundingBox": box,
        "children": [],
    }


def _corners(box: JsonObject) -> list[JsonObject]:
    left, top, right, bottom = box["left"], box["top"], box["right"], box["bottom"]
    return [{"x": left, "y": top}, {"x": right, "y": top}, {"x": right, "y": bottom}, {"x": left, "y": bottom}]


def _split_entry(part: Part) -> JsonObject:
    section = part.section
    return {
        "id": part.file["metadata"]["parentSplit"]["id"],
        "type": section.kind,
        "classificationId": part.classification_id,
        "identifier": section.identifier,
        "observation": f"A new {section.kind.replace('_', ' ')} begins on page {section.start_page}.",
        "startPage": section.start_page,
        "endPage": section.end_page,
        "fileId": part.file["id"],
        "name": part.file["name"],
    }


def classifications(*kinds: str) -> list[JsonObject]:
    """Build the classifications of a classifier or splitter for these kinds and `other`."""
    described = ((kind, f"A {kind.replace('_', ' ')}") for kind in (*kinds, "other"))
    return [{"id": f"cls_{kind}", "type": kind, "description": text} for kind, text in described]


def _schema(values: JsonObject) -> JsonObject:
    types = {bool: "boolean", int: "number", float: "number", str: "string"}
    properties: JsonObject = {}
    for key, value in values.items():
        if isinstance(value, list):
            properties[key] = {"type": "array", "items": _schema(value[0]) if value else {"type": "object"}}
        else:
            properties[key] = {"type": [types.get(type(value), "string"), "null"]}
    return {"type": "object", "properties": properties}


def _leaves(values: JsonObject, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, list):
            for index, row in enumerate(value):
                yield from _leaves(row, f"{prefix}{key}[{index}].")
        else:
            yield prefix + key, value


def _confidence(name: str, path: str, value: object, file_id: str) -> JsonObject:
    logprobs, top, ocr, score = _value_confidence(name, path)
    box = {"left": 60.0, "top": top, "right": 300.0, "bottom": top + 14.0}
    citation = {
        "fileId": file_id,
        "page": {"number": 1} | _PAGE,
        "referenceText": str(value),
        "polygon": _corners(box),
    }
    doubt = {"type": "reasoning", "content": f"The print at {path} is faint; read as {value}."}
    return {
        "logprobsConfidence": logprobs,
        "ocrConfidence": ocr,
        "reviewAgentScore": score,
        "citations": [citation],
        "insights": [doubt] if logprobs < 0.8 else [],
    }


# A scenario is built many times in one process of tests, with the same names.
@lru_cache(maxsize=256)
def _processor_token(*key: str) -> str:
    return SeededRandom(*key).token(21)


@lru_cache(maxsize=4096)
def _page_confidence(name: str, page: int) -> tuple[float, float]:
    random = SeededRandom(name, "ocr", page)
    least = random.fraction(0.82, 0.93)
    return least, random.fraction(least, 0.995)


@lru_cache(maxsize=16_384)
def _value_confidence(name: str, path: str) -> tuple[float, float, float, int]:
    random = SeededRandom(name, path)
    # One value in nine is hard to read, so that there is something to find in the results.
    logprobs = random.fraction(0.52, 0.74) if random.between(1, 9) == 9 else random.fraction(0.93, 0.999)
    top = float(random.between(90, 600))
    return logprobs, top, random.fraction(0.9, 0.995), 2 if logprobs < 0.8 else random.pick((4, 5))
