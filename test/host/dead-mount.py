#!/usr/bin/env python3
"""Mounts a FUSE file system that never answers, as a network file system whose server is gone. Prints `mounted` and
waits until its standard input ends; then takes the mount away.

    dead-mount.py DIRECTORY
"""
import ctypes
import os
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
MNT_DETACH = 2


def answer_init_only(fd):
    """The kernel queues requests until INIT is answered; every later one is read by nobody."""
    request = os.read(fd, 1 << 20)
    unique = request[8:16]
    # fuse_init_out of protocol 7.31: version, readahead, flags, limits, padding.
    body = (7).to_bytes(4, "little") + (31).to_bytes(4, "little") + (65536).to_bytes(4, "little") + bytes(4)
    body += (12).to_bytes(2, "little") + (9).to_bytes(2, "little") + (65536).to_bytes(4, "little") + bytes(40)
    os.write(fd, (16 + len(body)).to_bytes(4, "little") + bytes(4) + unique + body)


def main(directory):
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"dead", os.fsencode(directory), b"fuse.dead", 0, options) != 0:
        print(os.strerror(ctypes.get_errno()), file=sys.stderr)
        return 1
    thread = threading.Thread(target=answer_init_only, args=(fd,), daemon=True)
    thread.start()
    thread.join(5)
    print("mounted", flush=True)
    sys.stdin.read()
    libc.umount2(os.fsencode(directory), MNT_DETACH)
    # Whoever still waits for an answer gets an error.
    os.close(fd)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
