"""Check the steps of a workflow definition and refuse the first error with its path.

Rules: Extend API reference, WorkflowStepDefinition. Anything that the reference leaves open is accepted.
"""

import re
from collections.abc import Callable

from extend_mcp.sandbox.engine.validation import BodyReader, JsonObject

SIMPLE = frozenset(
    {
        "TRIGGER",
        "PARSE",
        "EXTRACT",
        "MERGE_EXTRACT",
        "CONDITIONAL_EXTRACT",
        "EXTERNAL_DATA_VALIDATION",
        "HUMAN_REVIEW",
        "COLLECT",
        "FILE_CONVERSION",
    }
)
CHOOSING = {
    "CLASSIFY": "classificationId",
    "SPLIT": "classificationId",
    "CONDITIONAL": "conditionId",
    "RULE_VALIDATION": "result",
    "VALIDATION": "result",
    "ROUTER": "branchId",
}
TYPES = (*sorted(SIMPLE), *CHOOSING, "WEBHOOK_RESPONSE")
WITHOUT_CONFIG = frozenset({"TRIGGER", "HUMAN_REVIEW", "COLLECT", "WEBHOOK_RESPONSE"})
DEFERRABLE = frozenset(
    {"EXTRACT", "CLASSIFY", "SPLIT", "CONDITIONAL_EXTRACT", "RULE_VALIDATION", "EXTERNAL_DATA_VALIDATION"}
)
_PINNED = re.compile(r"draft|[0-9]+(\.[0-9]+)*")


class DefinitionReader(BodyReader):
    """Check the steps of definitions."""

    def check(self, steps: object, *, deploying: bool) -> list[JsonObject]:
        """Return the steps if they can be saved, or deployed.

        Raises:
            InvalidFieldError: a step breaks a rule.
        """
        if not isinstance(steps, list) or not steps:
            self.refuse("Expected a non-empty array", "steps")
        kinds: dict[str, str] = {}
        for index, step in enumerate(steps):
            path = f"steps.{index}"
            self.read_object(step, path)
            name = self.read_text(step.get("name"), f"{path}.name")
            if name in kinds:
                self.refuse("Step names must be unique", f"{path}.name")
            kinds[name] = self.read_one_of(step.get("type"), TYPES, f"{path}.type")
        for kind in ("TRIGGER", "PARSE"):
            if list(kinds.values()).count(kind) != 1:
                self.refuse(f"Expected exactly one {kind} step", "steps")
        for index, step in enumerate(steps):
            self._step(step, f"steps.{index}", kinds, deploying=deploying)
        for index, step in enumerate(steps):
            if step["name"] not in steps_that_can_end(steps):
                self.refuse("The step leads into a cycle that cannot end", f"steps.{index}.next")
        return steps

    def _step(self, step: JsonObject, path: str, kinds: dict[str, str], *, deploying: bool) -> None:
        kind, config, leads = step["type"], step.get("config"), step.get("next")
        leads = [] if leads is None else self.read_array(leads, f"{path}.next")
        if config is None and kind in DEFERRABLE:
            if leads:
                self.refuse("next can only be set when config is present", f"{path}.next")
            if deploying:
                self.refuse("The step is not configured", f"{path}.config")
        elif config is None and kind == "CONDITIONAL":
            self.refuse("Required", f"{path}.config")
        elif config is not None and kind not in WITHOUT_CONFIG:
            _CONFIGS[kind](self, self.read_object(config, f"{path}.config"), f"{path}.config")
            if deploying and kind in ("CLASSIFY", "SPLIT"):
                self._other(config, f"{path}.config", "classifier" if kind == "CLASSIFY" else "splitter")
        if kind == "WEBHOOK_RESPONSE" and leads:
            self.refuse("Nothing follows a WEBHOOK_RESPONSE", f"{path}.next")
        for place, entry in enumerate(leads):
            where = f"{path}.next.{place}"
            target = self.read_text(self.read_object(entry, where).get("step"), f"{where}.step")
            if target not in kinds or kinds[target] == "TRIGGER":
                self.refuse("No such step to route to", f"{where}.step")
            if kind in CHOOSING:
                self._choice(step, entry, CHOOSING[kind], where)
        if kind == "TRIGGER" and [kinds[entry["step"]] for entry in leads] != ["PARSE"]:
            self.refuse("TRIGGER must route to the PARSE step alone", f"{path}.next")

    def _choice(self, step: JsonObject, entry: JsonObject, key: str, path: str) -> None:
        chosen = self.read_text(entry.get(key), f"{path}.{key}")
        known = choices_of(step)
        if known is not None and chosen not in known:
            self.refuse("Not among the ids of this step", f"{path}.{key}")

    def _source(self, config: JsonObject, path: str, kind: str, *, latest: bool) -> JsonObject | None:
        """Check that a step names one processor, saved or inline, and return the inline one."""
        saved, inline = config.get(kind), config.get(f"{kind}Config")
        if (saved is None) == (inline is None):
            self.refuse(f"Expected exactly one of {kind} and {kind}Config", path)
        if saved is not None:
            self._reference(saved, f"{path}.{kind}", latest=latest)
            return None
        return self.read_object(inline, f"{path}.{kind}Config")

    def _reference(self, saved: object, path: str, *, latest: bool) -> None:
        saved = self.read_object(saved, path)
        self.read_text(saved.get("id"), f"{path}.id")
        version = self.read_text(saved.get("version"), f"{path}.version")
        if not _PINNED.fullmatch(version) and not (latest and version == "latest"):
            self.refuse("Unsupported version", f"{path}.version")

    def _extract(self, config: JsonObject, path: str) -> None:
        inline = self._source(config, path, "extractor", latest=True)
        if inline is not None:
            self.read_object(inline.get("schema"), f"{path}.extractorConfig.schema")

    def _classify(self, config: JsonObject, path: str) -> None:
        self._kinds(self._source(config, path, "classifier", latest=False), f"{path}.classifierConfig.classifications")

    def _split(self, config: JsonObject, path: str) -> None:
        self._kinds(self._source(config, path, "splitter", latest=False), f"{path}.splitterConfig.splitClassifications")

    def _kinds(self, inline: JsonObject | None, path: str) -> None:
        if inline is not None:
            items = self._items(inline.get(path.rpartition(".")[2]), path)
            self._unique_ids(items, path, reserved=())
            for index, item in enumerate(items):
                for key in ("type", "description"):
                    if not isinstance(item.get(key), str):
                        self.refuse("Expected a string", f"{path}.{index}.{key}")

    def _other(self, config: JsonObject, path: str, kind: str) -> None:
        inline = config.get(f"{kind}Config")
        key = "classifications" if kind == "classifier" else "splitClassifications"
        if inline is not None and all(item["type"] != "other" for item in inline[key]):
            self.refuse('Expected an entry of type "other"', f"{path}.{kind}Config.{key}")

    def _conditional(self, config: JsonObject, path: str) -> None:
        items = self._items(config.get("conditions"), f"{path}.conditions")
        self._unique_ids(items, f"{path}.conditions", reserved=())
        for index, item in enumerate(items):
            where = f"{path}.conditions.{index}"
            self.read_one_of(item.get("type"), ("IF", "ELSE_IF", "ELSE"), f"{where}.type")
            if item.get("operation") is not None:
                operations = ("EQUALS", "GTE", "LTE", "IS_NULL", "CONTAINS", "NO_OP")
                self.read_one_of(item["operation"], operations, f"{where}.operation")

    def _conditional_extract(self, config: JsonObject, path: str) -> None:
        rules = self._items(config.get("rules"), f"{path}.rules")
        for index, rule in enumerate(rules):
            self.read_text(rule.get("formula"), f"{path}.rules.{index}.formula")
            self._reference(rule.get("extractor"), f"{path}.rules.{index}.extractor", latest=True)
        if rules[-1]["formula"] != "TRUE":
            self.refuse("The last formula must be TRUE", path)

    def _rules(self, config: JsonObject, path: str) -> None:
        for index, rule in enumerate(self._items(config.get("rules"), f"{path}.rules")):
            self.read_text(rule.get("name"), f"{path}.rules.{index}.name")
            self.read_text(rule.get("formula"), f"{path}.rules.{index}.formula")

    def _blocks(self, config: JsonObject, path: str) -> None:
        for index, block in enumerate(self._items(config.get("blocks"), f"{path}.blocks")):
            self._block(block, f"{path}.blocks.{index}")

    def _block(self, block: JsonObject, path: str) -> None:
        self.read_one_of(block.get("blockType"), ("code", "semantic"), path)
        self.read_text(block.get("name"), f"{path}.name")
        kind = block["blockType"]
        inner = self.read_object(block.get(kind), f"{path}.{kind}")
        text = "code" if kind == "code" else "promptText"
        if not isinstance(inner.get(text), str):
            self.refuse("Expected a string", f"{path}.{kind}.{text}")
        if kind == "code":
            self.read_one_of(inner.get("language"), ("javascript", "python"), f"{path}.code.language")

    def _router(self, config: JsonObject, path: str) -> None:
        branches = self._items(config.get("branches"), f"{path}.branches")
        self._unique_ids(branches, f"{path}.branches", reserved=("otherwise",))
        for index, branch in enumerate(branches):
            if branch.get("name") is not None and not isinstance(branch["name"], str):
                self.refuse("Expected a string", f"{path}.branches.{index}.name")
            if branch.get("block") is not None:
                block = self.read_object(branch["block"], f"{path}.branches.{index}.block")
                self._block(block, f"{path}.branches.{index}.block")

    def _external(self, config: JsonObject, path: str) -> None:
        options = self.read_object(config.get("requestOptions"), f"{path}.requestOptions")
        where = f"{path}.requestOptions"
        if not re.match(r"https?://.", self.read_text(options.get("url"), f"{where}.url")):
            self.refuse("Expected an http address", f"{where}.url")
        self.read_one_of(options.get("method"), ("GET", "POST", "PUT"), f"{where}.method")
        if options.get("contentType") is not None:
            self.read_one_of(options["contentType"], ("application/json", "text/plain"), f"{where}.contentType")
        self._behaviour(config, path)

    def _behaviour(self, config: JsonObject, path: str) -> None:
        if config.get("failureBehavior") is not None:
            self.read_one_of(config["failureBehavior"], ("CONTINUE", "EXIT"), f"{path}.failureBehavior")

    def _merge(self, config: JsonObject, path: str) -> None:
        if config.get("mergeOrder") is not None:
            orders = ("confidence", "alphabetic", "first_to_execute", "last_to_execute")
            self.read_one_of(config["mergeOrder"], orders, f"{path}.mergeOrder")

    def _parse(self, config: JsonObject, path: str) -> None:
        if config.get("parseConfig") is not None:
            self.read_object(config["parseConfig"], f"{path}.parseConfig")

    def _items(self, value: object, path: str) -> list[JsonObject]:
        items = self.read_array(value, path)
        if not items:
            self.refuse("Expected at least one", path)
        for index, item in enumerate(items):
            self.read_object(item, f"{path}.{index}")
        return items

    def _unique_ids(self, items: list[JsonObject], path: str, *, reserved: tuple[str, ...]) -> None:
        seen: set[str] = set(reserved)
        for index, item in enumerate(items):
            given = self.read_text(item.get("id"), f"{path}.{index}.id")
            if given in seen:
                self.refuse("Ids must be unique and not reserved", f"{path}.{index}.id")
            seen.add(given)


_CONFIGS: dict[str, Callable[[DefinitionReader, JsonObject, str], None]] = {
    "PARSE": DefinitionReader._parse,
    "EXTRACT": DefinitionReader._extract,
    "CLASSIFY": DefinitionReader._classify,
    "SPLIT": DefinitionReader._split,
    "MERGE_EXTRACT": DefinitionReader._merge,
    "CONDITIONAL": DefinitionReader._conditional,
    "CONDITIONAL_EXTRACT": DefinitionReader._conditional_extract,
    "RULE_VALIDATION": DefinitionReader._rules,
    "VALIDATION": DefinitionReader._blocks,
    "ROUTER": DefinitionReader._router,
    "EXTERNAL_DATA_VALIDATION": DefinitionReader._external,
    "FILE_CONVERSION": DefinitionReader._behaviour,
}


_ALWAYS_TRUE: JsonObject = {
    "blockType": "code",
    "name": "Always true",
    "code": {"language": "javascript", "code": "return true;"},
}
"""The block of a new branch that has none. Unknown: its name and code."""


def complete_steps(steps: list[JsonObject], draft: list[JsonObject]) -> list[JsonObject]:
    """Fill in what an update may leave out. Source: Extend's SDK, ValidationStepDefinition and RouterStepDefinition.

    Args:
        steps: Steps that were checked.
        draft: Steps of the present draft, or none for a new workflow.
    """
    before = {(step["name"], step["type"]): step.get("config") for step in draft}
    completed = []
    for step in steps:
        old = before.get((step["name"], step["type"]))
        if step["type"] in ("VALIDATION", "ROUTER") and step.get("config") is None and old is not None:
            step = step | {"config": old}
        elif step["type"] == "ROUTER" and step.get("config") is not None:
            old_branches = {branch["id"]: branch for branch in (old or {}).get("branches", [])}
            branches = [_complete_branch(each, old_branches.get(each["id"], {})) for each in step["config"]["branches"]]
            step = step | {"config": step["config"] | {"branches": branches}}
        completed.append(step)
    return completed


def _complete_branch(branch: JsonObject, old: JsonObject) -> JsonObject:
    kept = {key: old[key] for key in ("name", "block") if branch.get(key) is None and old.get(key) is not None}
    completed = branch | kept
    return completed if completed.get("block") is not None else completed | {"block": _ALWAYS_TRUE}


def choices_of(step: JsonObject) -> list[str] | None:
    """Return the IDs that a choosing step may choose, or None if only its saved processor knows them."""
    config = step.get("config") or {}
    lists = {
        "CLASSIFY": (config.get("classifierConfig") or {}).get("classifications"),
        "SPLIT": (config.get("splitterConfig") or {}).get("splitClassifications"),
        "CONDITIONAL": config.get("conditions"),
        "ROUTER": config.get("branches"),
    }
    if step["type"] in ("RULE_VALIDATION", "VALIDATION"):
        return ["pass", "fail"]
    items = lists.get(step["type"])
    if items is None:
        return None
    return [item["id"] for item in items] + (["otherwise"] if step["type"] == "ROUTER" else [])


def steps_that_can_end(steps: list[JsonObject]) -> set[str]:
    """Return the names of the steps from which a run can end."""
    ends: set[str] = set()
    grown = True
    while grown:
        grown = False
        for step in steps:
            if step["name"] not in ends and any(set(targets) <= ends for targets in _outcomes(step)):
                ends.add(step["name"])
                grown = True
    return ends


def _outcomes(step: JsonObject) -> list[list[str]]:
    leads = step.get("next") or []
    if step["type"] not in CHOOSING:
        return [[entry["step"] for entry in leads]]
    key, known = CHOOSING[step["type"]], choices_of(step)
    choices = [*(known or []), *(entry[key] for entry in leads)]
    outcomes = [[entry["step"] for entry in leads if entry[key] == choice] for choice in dict.fromkeys(choices)]
    # A saved processor, or a router without branches so far, may choose an ID that has no route.
    return outcomes if known is not None else [*outcomes, []]
