"""Answers each line of standard input, the path of a tree, with its description and an empty line; see test/vm/tree.py."""
import json
import os
import stat
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../vm"))
import tree

for line in sys.stdin:
    root = line.rstrip("\n")
    tree.describe(root)
    for directory, _, files in os.walk(os.fsencode(root)):
        for name in files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            where = tree.text(os.path.relpath(path, os.fsencode(root)))
            print(json.dumps({"path": where + "\0links", "type": "count", "links": info.st_nlink}))
    print(flush=True)
