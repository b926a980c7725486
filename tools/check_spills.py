#!/usr/bin/env python3
"""Finds inner loops of matrix products that touch the stack: a compiler out of registers halves their speed.

    tools/check_spills.py OBJECT...
    tools/check_spills.py --self-test

Reads objdump's disassembly of x86-64 objects of gcc or clang. Looks at functions named as tiles are, f32_6x4 and the like
(1x1 apart, which is never the loop that counts, and which clang 14 keeps in memory), and in each at every loop without a
loop inside that multiplies. Exits 1 when a vector in one of them is on the stack, at %rsp (or %rbp, where the function
makes it its frame), or when there is no such loop in all the objects. The address of a row may be there: it costs a load.
"""
import re
import subprocess
import sys

TILE = re.compile(r"^(?:f32|bf16|i8)_(?!1x1\b)\d+x\d+(?:\.\w+)*$")
LABEL = re.compile(r"^[0-9a-f]+ <(.+)>:$")
LINE = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
MULTIPLY = re.compile(r"^(vfn?madd\d+ps|vdpbf16ps|vpdpbusds?|vpmaddwd)$")
FRAME = re.compile(r"^mov\s+%rsp,%rbp$")


def functions(listing):
    """Yields (name, [(address, operation, operands)])."""
    name, body = None, []
    for line in listing.splitlines():
        label = LABEL.match(line)
        if label:
            if name:
                yield name, body
            name, body = label.group(1), []
            continue
        instruction = LINE.match(line)
        if name and instruction:
            body.append((int(instruction.group(1), 16), instruction.group(2), instruction.group(3)))
    if name:
        yield name, body


def inner_loops(body):
    """Yields the instructions of each loop that has none inside: from the target of a jump back to the jump."""
    spans = []
    for address, operation, operands in body:
        target = re.match(r"([0-9a-f]+)", operands)
        if operation.startswith("j") and target and int(target.group(1), 16) <= address:
            spans.append((int(target.group(1), 16), address))
    for start, end in spans:
        loop = [i for i in body if start <= i[0] <= end]
        whole = not any(i[1].startswith("ret") for i in loop)  # a block moved behind the return also jumps back
        if whole and not any((s, e) != (start, end) and start <= s and e <= end for s, e in spans):
            yield loop


def check(listing):
    """Returns (loops seen, [message])."""
    seen, messages = 0, []
    for name, body in functions(listing):
        if not TILE.match(name):
            continue
        framed = any(FRAME.match(f"{operation} {operands}") for _, operation, operands in body)
        stack = re.compile(r"\(%r[sb]p" if framed else r"\(%rsp")
        for loop in inner_loops(body):
            if not any(MULTIPLY.match(operation) for _, operation, _ in loop):
                continue
            seen += 1
            for address, operation, operands in loop:
                if operation.startswith("v") and stack.search(operands):
                    messages.append(f"{name}: {address:x}: {operation} {operands}")
    return seen, messages


def disassemble(path):
    return subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], check=True, capture_output=True, text=True).stdout


def self_test():
    loop = "0000 <f32_6x4>:\n   0:\tpush   %rbp\n{frame}   4:\tvfmadd231ps {use},%zmm1,%zmm2\n   8:\tjne    4 <f32_6x4+0x4>\n   c:\tret\n"
    frame = "   1:\tmov    %rsp,%rbp\n"
    assert check(loop.format(frame="", use="(%rax)")) == (1, [])
    assert len(check(loop.format(frame="", use="0x8(%rsp)"))[1]) == 1
    assert check(loop.format(frame="", use="0x8(%rbp)")) == (1, [])
    assert check(loop.format(frame="", use="(%rax)").replace("   8:", "   6:\tmov    0x8(%rsp),%rcx\n   8:")) == (1, [])
    assert len(check(loop.format(frame=frame, use="-0x8(%rbp)"))[1]) == 1
    assert check(loop.format(frame="", use="0x8(%rsp)").replace("f32_6x4", "other")) == (0, [])
    assert check(loop.format(frame="", use="0x8(%rsp)").replace("   8:", "   6:\tret\n   8:")) == (0, [])
    outer = loop.format(frame="", use="(%rax)").replace("   c:\tret", "   a:\tmov    %rax,0x8(%rsp)\n   c:\tjne    0 <f32_6x4>")
    assert check(outer) == (1, [])


def main(arguments):
    if arguments == ["--self-test"]:
        self_test()
        return 0
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    total, messages = 0, []
    for path in arguments:
        seen, found = check(disassemble(path))
        total += seen
        messages += [f"{path}: {message}" for message in found]
    print("\n".join(messages + [f"{total} loops, {len(messages)} uses of the stack"]))
    return 1 if messages or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
