"""The agent's own user, Python, environment and clock."""

import datetime
import os
import pwd
import sys
import time


def collect(board):
    """ansible_user_*, ansible_python*, ansible_env, ansible_date_time."""
    facts = {}
    if board.live:
        facts.update(_user())
        facts["ansible_env"] = dict(os.environ)
    facts.update(_python())
    facts["ansible_date_time"] = date_time(time.time())
    return facts


def _user():
    uid = os.getuid()
    facts = {
        "ansible_user_uid": uid,
        "ansible_user_gid": os.getgid(),
        "ansible_real_user_id": uid,
        "ansible_effective_user_id": os.geteuid(),
        "ansible_real_group_id": os.getgid(),
        "ansible_effective_group_id": os.getegid(),
        "ansible_user_id": str(uid),
        "ansible_user_dir": os.environ.get("HOME", "/"),
        "ansible_user_shell": os.environ.get("SHELL", ""),
        "ansible_user_gecos": "",
    }
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return facts
    facts.update(
        ansible_user_id=entry.pw_name,
        ansible_user_dir=entry.pw_dir,
        ansible_user_shell=entry.pw_shell,
        ansible_user_gecos=entry.pw_gecos,
    )
    return facts


def _python():
    version = sys.version_info
    return {
        "ansible_python_version": "%d.%d.%d" % version[:3],
        "ansible_python": {
            "executable": sys.executable,
            "type": sys.implementation.name,
            "version": {
                "major": version[0],
                "minor": version[1],
                "micro": version[2],
                "releaselevel": version[3],
                "serial": version[4],
            },
            "version_info": list(version),
            "has_sslcontext": _has_ssl(),
        },
    }


def _has_ssl():
    import importlib.util

    return importlib.util.find_spec("_ssl") is not None


def date_time(epoch):
    """Ansible's many ways to write one moment."""
    now = datetime.datetime.fromtimestamp(epoch)
    utc = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    return {
        "year": now.strftime("%Y"),
        "month": now.strftime("%m"),
        "weekday": now.strftime("%A"),
        "weekday_number": now.strftime("%w"),
        "weeknumber": now.strftime("%W"),
        "day": now.strftime("%d"),
        "hour": now.strftime("%H"),
        "minute": now.strftime("%M"),
        "second": now.strftime("%S"),
        "epoch": str(int(epoch)),
        "epoch_int": str(int(epoch)),
        "date": now.strftime("%Y-%m-%d"),
        "time": now.strftime("%H:%M:%S"),
        "iso8601": utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "iso8601_micro": utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "iso8601_basic": now.strftime("%Y%m%dT%H%M%S%f"),
        "iso8601_basic_short": now.strftime("%Y%m%dT%H%M%S"),
        "tz": time.strftime("%Z"),
        "tz_dst": time.tzname[1],
        "tz_offset": time.strftime("%z"),
    }
