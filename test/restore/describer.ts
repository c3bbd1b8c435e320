/** Describes trees with code that is not the product's: one Python process for many trees. */
import { join } from 'node:path'
import { differences, type Entry, type Tree } from '../vm/tree.ts'

export class Describer {
    readonly #child = Bun.spawn(['python3', join(import.meta.dir, 'describe.py')], {
        stdin: 'pipe',
        stdout: 'pipe',
        stderr: 'inherit',
    })
    readonly #reader = this.#child.stdout.getReader()
    readonly #decoder = new TextDecoder()
    #held = ''

    /** Everything below a directory: content, metadata, times, attributes, which names are one file, and link counts. */
    async describe(directory: string): Promise<Tree> {
        this.#child.stdin.write(`${directory}\n`)
        this.#child.stdin.flush()
        const tree: Tree = new Map()
        for (;;) {
            const end = this.#held.indexOf('\n')
            if (end < 0) {
                const { done, value } = await this.#reader.read()
                if (done) throw new Error('the describing process ended')
                this.#held += this.#decoder.decode(value, { stream: true })
                continue
            }
            const line = this.#held.slice(0, end)
            this.#held = this.#held.slice(end + 1)
            if (line === '') return tree
            const entry = JSON.parse(line) as Entry
            tree.set(entry.path, entry)
        }
    }

    async differences(before: Tree, directory: string): Promise<string[]> {
        return differences(before, await this.describe(directory))
    }

    async end(): Promise<void> {
        this.#child.stdin.end()
        await this.#child.exited
    }
}
