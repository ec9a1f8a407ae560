"""Argument checking, from one SPEC per module, for both sides: the controller early, the agent again."""

import json
import re
from collections import namedtuple

from .modules import INTERNAL, MODULES, load

# `argument` is None when the fault is not one argument's; `nearest` is a known name that may have been meant.
Problem = namedtuple("Problem", "argument message nearest")

TRUE_WORDS = ("yes", "true", "on", "y", "t", "1")
FALSE_WORDS = ("no", "false", "off", "n", "f", "0")
SYMBOLIC_MODE = re.compile(r"[ugoa]*([-+=]([rwxXst]+|[ugo])?)+(,[ugoa]*([-+=]([rwxXst]+|[ugo])?)+)*\Z")
OCTAL_MODE = re.compile(r"(0o?)?[0-7]{1,4}\Z")
# `mode: 644` without a leading zero is decimal in YAML, and nobody has ever meant 01204.
LIKELY_OCTAL = frozenset(
    [
        400,
        440,
        444,
        500,
        550,
        555,
        600,
        640,
        644,
        660,
        664,
        666,
        700,
        710,
        711,
        750,
        755,
        770,
        775,
        777,
        1777,
        2755,
        2775,
    ]
)


def validate(name, args, templated=False):
    """Check a module's arguments -> (clean_args, [Problem...]).

    clean_args has every argument of the SPEC under its own name (not an alias), converted to its type, absent
    ones as their default or None. With `templated`, values that still hold Jinja are not looked into.
    """
    if name not in MODULES and name not in INTERNAL:
        return {}, [Problem(None, "there is no module %r" % name, nearest(name, MODULES))]
    module = load(name)
    problems = []
    given = _by_own_name(module, name, args, problems)
    clean = {}
    for key, option in sorted(module.SPEC.items()):
        value = given.pop(key, None)
        if value is None:
            clean[key] = option.get("default")
            if option.get("required"):
                problems.append(Problem(key, "%s needs the argument '%s'" % (name, key), None))
        else:
            clean[key] = _checked(key, value, option, templated, problems)
    clean.update(given)
    _check_rules(module, name, clean, templated, problems)
    return clean, problems


def nearest(name, known):
    """The known name most like `name`, or None."""
    import difflib

    found = difflib.get_close_matches(str(name), [str(one) for one in known], 1, 0.6)
    return found[0] if found else None


def is_templated(value):
    """True when a value, or anything inside it, still holds Jinja."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(is_templated(one) for one in value.values())
    if isinstance(value, (list, tuple)):
        return any(is_templated(one) for one in value)
    return False


def _by_own_name(module, name, args, problems):
    """The given arguments under their own names; unknown ones become problems."""
    aliases = {alias: key for key, option in module.SPEC.items() for alias in option.get("aliases", ())}
    given = {}
    for key, value in args.items():
        own = aliases.get(key, key)
        internal = key == "_blob" or (key == "_raw_params" and getattr(module, "FREE_FORM", False))
        if own not in module.SPEC and not internal and not getattr(module, "ANY_ARGUMENT", False):
            if key == "_raw_params":
                message = "%s takes arguments as 'name: value', not free text" % name
                problems.append(Problem(None, message, None))
            else:
                known = list(module.SPEC) + list(aliases)
                message = "%s has no argument '%s'" % (name, key)
                problems.append(Problem(key, message, nearest(key, known)))
        elif value is not None:
            if own in given:
                problems.append(Problem(key, "'%s' is given twice (it is an alias of '%s')" % (key, own), None))
            given[own] = value
    return given


def _checked(key, value, option, templated, problems):
    """`value` converted to the option's type; a fault becomes a problem and the value stays as it was."""
    if templated and is_templated(value) and not isinstance(value, (list, dict)):
        return value
    try:
        return _converted(value, option, templated)
    except ValueError as error:
        choices = option.get("choices")
        hint = nearest(value, choices) if choices else None
        problems.append(Problem(key, "argument '%s': %s" % (key, error), hint))
        return value


def _converted(value, option, templated):
    kind = option.get("type", "str")
    choices = option.get("choices")
    if value in option.get("words", ()):
        return value
    if choices and isinstance(value, bool) and kind == "str":
        # YAML reads the choices yes and no as booleans.
        words = [one for one in choices if one in (TRUE_WORDS if value else FALSE_WORDS)]
        value = words[0] if words else value
    value = CONVERTERS[kind](value)
    if kind == "list" and "elements" in option:
        element = {"type": option["elements"]}
        value = [one if templated and is_templated(one) else _converted(one, element, templated) for one in value]
    if choices:
        for one in value if kind == "list" else [value]:
            if one not in choices and not (templated and is_templated(one)):
                raise ValueError("%r is none of %s" % (one, ", ".join(str(choice) for choice in choices)))
    return value


def _to_str(value):
    if isinstance(value, (list, dict)):
        raise ValueError("wants text, not a %s" % ("list" if isinstance(value, list) else "dictionary"))
    return str(value)


def _to_path(value):
    text = _to_str(value)
    if not text:
        raise ValueError("is an empty path")
    if "\0" in text:
        raise ValueError("a path cannot hold a NUL character")
    return text


def _to_int(value):
    try:
        if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
            raise ValueError
        return int(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("wants a whole number, not %r" % (value,))


def _to_float(value):
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (ValueError, TypeError):
        raise ValueError("wants a number, not %r" % (value,))


def _to_bool(value):
    word = str(value).strip().lower()
    if word in TRUE_WORDS or value == 1:
        return True
    if word in FALSE_WORDS or value == 0:
        return False
    raise ValueError("wants yes or no, not %r" % (value,))


def _to_list(value):
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    if isinstance(value, (int, float)):
        return [str(value)]
    raise ValueError("wants a list, not %r" % (value,))


def _to_dict(value):
    if isinstance(value, dict):
        return value
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            pass
    raise ValueError("wants a dictionary, not %r" % (value,))


def _to_mode(value):
    """A mode as text: '0644', or symbolic as chmod(1) takes it."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value in LIKELY_OCTAL or not 0 <= value <= 0o7777:
            raise ValueError("write a mode in quotes with a leading zero, such as '0644'; %d is decimal" % value)
        return "%04o" % value
    text = _to_str(value).strip()
    if OCTAL_MODE.match(text):
        return "%04o" % int(text.replace("o", ""), 8)
    if text and SYMBOLIC_MODE.match(text):
        return text
    raise ValueError("wants a mode such as '0644' or 'u=rw,g=r,o=', not %r" % (value,))


def _to_raw(value):
    return value


CONVERTERS = {
    "str": _to_str,
    "path": _to_path,
    "int": _to_int,
    "float": _to_float,
    "bool": _to_bool,
    "list": _to_list,
    "dict": _to_dict,
    "mode": _to_mode,
    "raw": _to_raw,
}


def _check_rules(module, name, clean, templated, problems):
    rules = getattr(module, "RULES", {})
    set_ = {key for key in clean if clean[key] is not None}
    chosen = {key for key in set_ if clean[key] != module.SPEC.get(key, {}).get("default")}
    if templated:  # which of them are left out is known when they have been filled in
        chosen = {key for key in chosen if not (is_templated(clean[key]) and "omit" in str(clean[key]))}
    for group in rules.get("required_one_of", ()):
        if not set_.intersection(group):
            problems.append(Problem(None, "%s needs one of %s" % (name, ", ".join(group)), None))
    for group in rules.get("mutually_exclusive", ()):
        both = [key for key in group if key in chosen]
        if len(both) > 1:
            problems.append(Problem(both[1], "%s cannot go with each other" % " and ".join(both), None))
    for group in rules.get("required_together", ()):
        have = [key for key in group if key in set_]
        if have and len(have) < len(group):
            missing = [key for key in group if key not in set_]
            problems.append(Problem(missing[0], "%s needs %s too" % (have[0], ", ".join(missing)), None))
    _check_required_if(rules.get("required_if", ()), name, clean, templated, problems)


def _check_required_if(rules, name, clean, templated, problems):
    set_ = {key for key in clean if clean[key] is not None}
    for rule in rules:
        key, value, needed = rule[:3]
        if templated and is_templated(clean.get(key)):
            continue
        missing = [one for one in needed if one not in set_]
        any_will_do = len(rule) > 3 and rule[3]
        if clean.get(key) == value and missing and not (any_will_do and len(missing) < len(needed)):
            wanted = " or ".join(missing) if any_will_do else ", ".join(missing)
            problems.append(Problem(missing[0], "%s needs %s when %s is %s" % (name, wanted, key, value), None))
