"""A file system in memory that fails as told: `failing_disk.py DIRECTORY [options]`, until it is unmounted.

It speaks the kernel's FUSE protocol itself, so it needs no library: only `/dev/fuse`, and the right to mount (root) or
`fusermount3`. Exit status 77 if there is no such right here. `ready` on stdout says that it is mounted.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field

MISSING = 77
"""Exit status where nothing can be mounted."""
MAX_WRITE = 128 * 1024
DIRECT_IO = 1
"""Nothing is cached: every write and read of a program comes here."""
SIZE, MODE = 1 << 3, 1 << 0
"""What a SETATTR may set, of what it can set."""
LOOKUP, FORGET, GETATTR, SETATTR, MKDIR, UNLINK, RMDIR, RENAME = 1, 2, 3, 4, 9, 10, 11, 12
OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT, OPENDIR, READDIR = 14, 15, 16, 17, 18, 20, 25, 26, 27, 28
RELEASEDIR, FSYNCDIR, ACCESS, CREATE, INTERRUPT, DESTROY, BATCH_FORGET, RENAME2 = 29, 30, 34, 35, 36, 38, 42, 45


@dataclass
class Node:
    number: int
    mode: int
    data: bytearray = field(default_factory=bytearray)
    entries: dict[bytes, Node] = field(default_factory=dict)
    fails: bool = False
    """Its name was once that of the file that the disk fails for."""

    def attributes(self) -> bytes:
        blocks = -(-len(self.data) // 512)
        times = (0,) * 3 + (0,) * 3
        owner = (os.getuid(), os.getgid())
        head = struct.pack("<6Q3I", self.number, len(self.data), blocks, *times)
        return head + struct.pack("<7I", self.mode, 1, *owner, 0, 4096, 0)

    def entry(self) -> bytes:
        return struct.pack("<4Q2I", self.number, 0, 0, 0, 0, 0) + self.attributes()


class Refused(Exception):
    """An error number."""


@dataclass
class Disk:
    """What is in it, and how it fails."""

    bad_from: int | None
    """Bytes of the failing file from this one on cannot be written."""
    bad_sync: bool
    """Nor can it be forced to the disk."""
    bad_name: bytes
    delay: float
    """So many seconds go by in each write."""
    nodes: dict[int, Node] = field(default_factory=lambda: {1: Node(1, stat.S_IFDIR | 0o700)})

    def create(self, parent: int, name: bytes, mode: int) -> Node:
        entries = self.nodes[parent].entries
        if name in entries:
            raise Refused(errno.EEXIST)
        node = Node(len(self.nodes) + 1, mode, fails=name == self.bad_name)
        self.nodes[node.number] = entries[name] = node
        return node

    def find(self, parent: int, name: bytes) -> Node:
        try:
            return self.nodes[parent].entries[name]
        except KeyError:
            raise Refused(errno.ENOENT) from None

    def remove(self, parent: int, name: bytes) -> None:
        node = self.find(parent, name)
        if node.entries:
            raise Refused(errno.ENOTEMPTY)
        del self.nodes[parent].entries[name]

    def rename(self, parent: int, to: int, names: bytes) -> None:
        old, new = names.split(b"\0")[:2]
        node = self.find(parent, old)
        node.fails |= new == self.bad_name
        self.nodes[to].entries[new] = node
        del self.nodes[parent].entries[old]

    def write(self, node: Node, offset: int, data: bytes) -> int:
        time.sleep(self.delay)
        if node.fails and self.bad_from is not None and offset + len(data) > self.bad_from:
            data = data[: max(0, self.bad_from - offset)]
            if not data:
                raise Refused(errno.EIO)
        if len(node.data) < offset:
            node.data.extend(bytes(offset - len(node.data)))
        node.data[offset : offset + len(data)] = data
        return len(data)

    def answer(self, operation: int, number: int, body: bytes) -> bytes:
        """What the kernel is answered."""
        if operation == INIT:
            return struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 16, 12, MAX_WRITE, 1, 0, 0, *(0,) * 8)
        if operation in (OPEN, OPENDIR):
            return struct.pack("<Q2I", 0, DIRECT_IO, 0)
        if operation in (RELEASE, RELEASEDIR, FLUSH, FSYNCDIR, ACCESS, DESTROY):
            return b""
        if operation == STATFS:
            return struct.pack("<5Q10I", 1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 4096, 255, 4096, *(0,) * 7)
        name = body.rstrip(b"\0")
        match operation:
            case _ if operation == LOOKUP:
                return self.find(number, name).entry()
            case _ if operation in (UNLINK, RMDIR):
                self.remove(number, name)
                return b""
            case _ if operation == MKDIR:
                (mode,) = struct.unpack_from("<I", body)
                return self.create(number, name[8:], stat.S_IFDIR | mode).entry()
            case _ if operation == CREATE:
                (_, mode) = struct.unpack_from("<2I", body)
                return self.create(number, name[16:], stat.S_IFREG | mode).entry() + struct.pack(
                    "<Q2I", 0, DIRECT_IO, 0
                )
            case _ if operation in (RENAME, RENAME2):
                (to,) = struct.unpack_from("<Q", body)
                self.rename(number, to, body[8 if operation == RENAME else 16 :])
                return b""
        return self.answer_of_file(operation, self.nodes[number], body)

    def answer_of_file(self, operation: int, node: Node, body: bytes) -> bytes:
        if operation in (GETATTR, SETATTR):
            if operation == SETATTR:
                (valid,) = struct.unpack_from("<I", body)
                if valid & SIZE:
                    (size,) = struct.unpack_from("<Q", body, 16)
                    node.data = node.data[:size].ljust(size, b"\0")
                if valid & MODE:
                    (mode,) = struct.unpack_from("<I", body, 68)
                    node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
            return struct.pack("<Q2I", 0, 0, 0) + node.attributes()
        if operation == FSYNC:
            if node.fails and self.bad_sync:
                raise Refused(errno.EIO)
            return b""
        _, offset, size = struct.unpack_from("<2QI", body) if operation in (READ, WRITE, READDIR) else (0, 0, 0)
        if operation == READ:
            return bytes(node.data[offset : offset + size])
        if operation == WRITE:
            return struct.pack("<2I", self.write(node, offset, body[40 : 40 + size]), 0)
        if operation == READDIR:
            listing = b""
            for index, (name, entry) in list(enumerate(node.entries.items(), 1))[offset:]:
                kind = stat.S_IFMT(entry.mode) >> 12
                record = struct.pack("<2Q2I", entry.number, index, len(name), kind) + name
                record += bytes(-len(record) % 8)
                if len(listing) + len(record) > size:
                    break
                listing += record
            return listing
        raise Refused(errno.ENOSYS)


def mount(directory: str) -> int | None:
    """The descriptor that the kernel's requests come from; `None` if nothing may be mounted here."""
    if os.geteuid() == 0:
        try:
            device = os.open("/dev/fuse", os.O_RDWR)
        except OSError:
            return None
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        return device if libc.mount(b"failing", directory.encode(), b"fuse", 0, options) == 0 else None
    helper = shutil.which("fusermount3") or shutil.which("fusermount")
    if helper is None:
        return None
    ours, theirs = socket.socketpair()
    with ours, theirs:
        env = {**os.environ, "_FUSE_COMMFD": str(theirs.fileno())}
        if subprocess.run([helper, "--", directory], env=env, pass_fds=[theirs.fileno()], check=False).returncode != 0:
            return None
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        return descriptors[0] if descriptors else None


def unmount(directory: str) -> None:
    helper = shutil.which("fusermount3") or shutil.which("fusermount")
    command = ["umount", "-l"] if os.geteuid() == 0 or helper is None else [helper, "-u", "-z", "--"]
    subprocess.run([*command, directory], check=True, timeout=60)


def serve(device: int, disk: Disk) -> None:
    while True:
        try:
            request = os.read(device, MAX_WRITE + 4096)
        except OSError as error:
            if error.errno == errno.ENODEV:
                # Unmounted.
                return
            if error.errno in (errno.EINTR, errno.ENOENT):
                continue
            raise
        length, operation, unique, number = struct.unpack_from("<2I2Q", request)
        if operation in (FORGET, BATCH_FORGET, INTERRUPT):
            continue
        code, answer = 0, b""
        try:
            answer = disk.answer(operation, number, request[40:length])
        except Refused as refused:
            code = refused.args[0]
        try:
            os.write(device, struct.pack("<IiQ", 16 + len(answer), -code, unique) + answer)
        except OSError as error:
            # Whoever asked is gone.
            if error.errno != errno.ENOENT:
                raise


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--bad-from", type=int)
    parser.add_argument("--bad-sync", action="store_true")
    parser.add_argument("--bad-name", default="")
    parser.add_argument("--delay", type=float, default=0.0)
    options = parser.parse_args()
    device = mount(options.directory)
    if device is None:
        return MISSING
    print("ready", flush=True)
    serve(device, Disk(options.bad_from, options.bad_sync, options.bad_name.encode(), options.delay))
    return 0


if __name__ == "__main__":
    sys.exit(main())
