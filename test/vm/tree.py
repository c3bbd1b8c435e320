#!/usr/bin/env python3
"""Describes every entry below a directory, one JSON object a line, or makes a directory of entries that tools get wrong.

Separate from the product on purpose: what a backup brought back is compared by other code than the one that saved it.

    tree.py describe DIR
    tree.py odd DIR
"""
import hashlib
import json
import os
import stat
import struct
import sys


def text(raw):
    """Bytes of any kind as a string that JSON carries, one character a byte."""
    return raw.decode("latin-1")


def content(path):
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME
    digest = hashlib.sha256()
    with open(os.open(path, flags), "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def attributes(path):
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in sorted(names)}


def describe(root):
    root = os.fsencode(root)
    first_of = {}

    def entry(path):
        info = os.lstat(path)
        name = os.path.relpath(path, root)
        found = {
            "path": text(name),
            "type": stat.filemode(info.st_mode)[0],
            "mode": oct(stat.S_IMODE(info.st_mode)),
            "uid": info.st_uid,
            "gid": info.st_gid,
            "mtime": info.st_mtime_ns,
            "xattrs": attributes(path),
        }
        if stat.S_ISREG(info.st_mode):
            found["size"] = info.st_size
            found["atime"] = info.st_atime_ns
            found["sha256"] = content(path)
            found["sparse"] = info.st_size > 1 << 20 and info.st_blocks * 512 < info.st_size // 2
        if stat.S_ISLNK(info.st_mode):
            found["target"] = text(os.readlink(path))
        if not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1:
            found["same as"] = first_of.setdefault((info.st_dev, info.st_ino), text(name))
        print(json.dumps(found))

    entry(root)
    for directory, directories, files in os.walk(root):
        directories.sort()
        for name in sorted(directories + files):
            entry(os.path.join(directory, name))


def write(path, data=b"", mode=0o644):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def odd(root):
    root = os.fsencode(root)
    os.makedirs(root)
    at = lambda name: os.path.join(root, name)

    write(at(b"empty"))
    write(at(b"unreadable"), b"still root's to read\n", 0)
    write(at(b"setuid"), b"#!/bin/true\n", 0o4755)
    write(at(b"setgid"), b"#!/bin/true\n", 0o2755)
    os.mkdir(at(b"sticky"))
    os.chmod(at(b"sticky"), 0o3777)
    os.mkdir(at(b"empty directory"))
    write(at(b"somebody's"), b"mine\n")
    os.chown(at(b"somebody's"), 12345, 54321)
    os.chown(at(b"setuid"), 33, 33)
    os.chmod(at(b"setuid"), 0o4755)

    # Names.
    write(at(b"not utf-8 \xff\xfe\x80"), b"latin\n")
    write(at(b"line\nbreak"), b"\n")
    write(at(b"-rf"), b"no option\n")
    write(at(b" blanks \t"), b"\n")
    write(at("größe-日本語".encode()), b"utf-8\n")
    write(at(b"*?[a]"), b"no pattern\n")
    write(at(b"back\\slash"), b"\n")
    write(at(b"n" * 255), b"longest name\n")
    deep = at(b"deep")
    for _ in range(12):
        os.mkdir(deep)
        deep = os.path.join(deep, b"d" * 40)
    os.mkdir(deep)
    write(os.path.join(deep, b"bottom"), b"far down\n")

    # Links.
    os.symlink(b"empty", at(b"link"))
    os.symlink(b"/nowhere/at/all", at(b"dangling"))
    os.symlink(b"x" * 3000, at(b"long link"))
    os.symlink(b"\xff\xfe", at(b"odd link"))
    os.chown(at(b"link"), 12345, 54321, follow_symlinks=False)
    write(at(b"hard"), b"one file, three names\n")
    os.link(at(b"hard"), at(b"hard too"))
    os.link(at(b"hard"), os.path.join(deep, b"hard far"))

    # Extended attributes, an access control list, capabilities, and a list that new files inherit.
    write(at(b"attributes"), b"with attributes\n")
    os.setxattr(at(b"attributes"), "user.text", b"value")
    os.setxattr(at(b"attributes"), "user.binary", bytes(range(256)))
    os.setxattr(at(b"attributes"), "user.empty", b"")
    os.setxattr(at(b"attributes"), "trusted.proxsave", b"\x00\xff\n=")
    write(at(b"capable"), b"#!/bin/true\n", 0o755)
    os.setxattr(at(b"capable"), "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0))
    undefined = 0xFFFFFFFF
    entries = [(1, 6, undefined), (2, 4, 1000), (4, 4, undefined), (8, 6, 4242), (16, 6, undefined), (32, 0, undefined)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    write(at(b"listed"), b"with a list\n")
    os.setxattr(at(b"listed"), "system.posix_acl_access", acl)
    os.mkdir(at(b"inherited"))
    os.setxattr(at(b"inherited"), "system.posix_acl_default", acl)
    os.setxattr(at(b"inherited"), "user.directory", b"too")

    # Holes.
    with open(at(b"sparse"), "wb") as file:
        file.truncate(64 << 20)
        file.seek(10 << 20)
        file.write(b"in the middle")
        file.seek(50 << 20)
        file.write(b"near the end")
    with open(at(b"hole"), "wb") as file:
        file.truncate(8 << 20)

    # Times, last: to the nanosecond, before 1970, after 2038.
    for name, seconds, nanoseconds in (
        (b"attributes", 1_600_000_000, 123_456_789),
        (b"empty", 0, 1),
        (b"unreadable", -150_000_000, 0),
        (b"setgid", 2_500_000_000, 999_999_999),
        (b"sparse", 1_500_000_000, 5),
        (b"link", 1_400_000_000, 42),
        (b"empty directory", 1_300_000_000, 7),
        (b"sticky", 1_200_000_000, 100),
        (b"inherited", 1_100_000_000, 0),
        (b"deep", 1_000_000_000, 31),
        (b"", 1_450_000_000, 77),
    ):
        stamp = seconds * 10**9 + nanoseconds
        os.utime(at(name), ns=(stamp, stamp), follow_symlinks=False)


if __name__ == "__main__":
    {"describe": describe, "odd": odd}[sys.argv[1]](sys.argv[2])
