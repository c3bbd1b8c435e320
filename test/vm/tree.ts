/** Compares two directory trees entry by entry, in everything that a backup has to bring back. */
import { join } from 'node:path'

export type Entry = Record<string, unknown> & { path: string; type: string }
export type Tree = Map<string, Entry>

const script = join(import.meta.dir, 'tree.py')
const seconds = 120

/** What lies below `dir`, which is a path on this host. */
export async function describeTree(dir: string): Promise<Tree> {
    const lines = (await python(['describe', dir])).trimEnd().split('\n')
    const entries = lines.map(line => JSON.parse(line) as Entry)
    return new Map(entries.map(entry => [entry.path, entry]))
}

/** Makes a directory full of what tools get wrong. */
export async function makeOdd(dir: string): Promise<void> {
    await python(['odd', dir])
}

export interface Comparison {
    /** Paths that do not have to be in the copy, with everything below them. */
    without?: readonly string[]
    /** Properties that are not compared. */
    ignoring?: readonly string[]
}

/** One line for each difference, none when the copy is true. */
export function differences(
    original: Tree,
    copy: Tree,
    { without = [], ignoring = [] }: Comparison = {},
): string[] {
    const found: string[] = []
    const left = (path: string) => without.some(name => path === name || path.startsWith(`${name}/`))
    for (const [path, entry] of original) {
        if (left(path)) {
            if (copy.has(path)) found.push(`${JSON.stringify(path)} is there and should not be`)
            continue
        }
        const other = copy.get(path)
        if (other === undefined) {
            found.push(`${JSON.stringify(path)} is missing`)
            continue
        }
        for (const property of new Set([...Object.keys(entry), ...Object.keys(other)])) {
            if (ignoring.includes(property)) continue
            const [was, is] = [JSON.stringify(entry[property]), JSON.stringify(other[property])]
            if (was !== is) found.push(`${JSON.stringify(path)}: ${property} was ${was} and is ${is}`)
        }
    }
    for (const path of copy.keys()) if (!original.has(path)) found.push(`${JSON.stringify(path)} is new`)
    return found
}

async function python(argv: string[]): Promise<string> {
    const child = Bun.spawn(['python3', script, ...argv], {
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
        timeout: seconds * 1000,
    })
    const [stdout, stderr, status] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
        child.exited,
    ])
    if (status !== 0) throw new Error(`tree.py ${argv.join(' ')} failed: ${stderr}`)
    return stdout
}
