/** Takes the runtime's own environment switches out of a compiled binary, so that only the program's remain. */
import { readFileSync, writeFileSync } from 'node:fs'

/**
 * BUN_BE_BUN turns the binary into a plain runtime, BUN_OPTIONS preloads files before the program, BUN_INSPECT (and
 * longer names that begin so) opens a debugger. The first byte of each name becomes NUL: the length stays, and no
 * environment can hold a name with a NUL in it.
 */
const switches = ['BUN_BE_BUN', 'BUN_OPTIONS', 'BUN_INSPECT']

const path = process.argv[2]
if (path === undefined) throw new Error('usage: seal-binary.ts BINARY')

const bytes = readFileSync(path)
for (const name of switches) {
    let found = 0
    for (let at = bytes.indexOf(name); at !== -1; at = bytes.indexOf(name, at + name.length)) {
        bytes[at] = 0
        found++
    }
    // A runtime that spells its switches otherwise would go unpatched: that must not pass in silence.
    if (found === 0) throw new Error(`cannot seal ${path}: ${name} does not occur in it`)
    console.log(`sealed ${name} in ${found} places`)
}
writeFileSync(path, bytes)
