/**
 * Whatever the bytes, a check answers: it does not throw, does not hang, and names a line that the file has.
 * `PROXSAVE_FUZZ` multiplies the number of tries; `PROXSAVE_SEED` replays one.
 */
import { describe, expect, test } from 'bun:test'
import { checkJsonText } from '../../../src/format/check/json.ts'
import { type CheckKind, checks } from '../../../src/format/check/index.ts'
import { bytesOf, samples } from './samples.ts'

const tries = 60 * Number(process.env.PROXSAVE_FUZZ ?? 1)
const seed = Number(process.env.PROXSAVE_SEED ?? 20_240_607)

/** Numbers below `n` that a seed repeats (xorshift). */
function randomFrom(start: number): (n: number) => number {
    let state = start | 1
    return n => {
        state ^= state << 13
        state ^= state >>> 17
        state ^= state << 5
        return (state >>> 0) % n
    }
}

const favourites = Buffer.from('\n \t\r=:"\'\\#,!@()[]{}0-9*/;$%\0\x80\xff-', 'latin1')

function mutated(bytes: Uint8Array, random: (n: number) => number): Buffer {
    let result = Buffer.from(bytes)
    for (let i = random(6); i >= 0; i--) {
        const at = random(result.length + 1)
        const to = Math.min(result.length, at + random(12))
        const kind = random(5)
        if (kind === 0) result = result.subarray(0, at)
        else if (kind === 1) result = Buffer.concat([result.subarray(0, at), result.subarray(to)])
        else if (kind === 2) result = Buffer.concat([result, result.subarray(at, to)])
        else {
            const byte = kind === 3 ? random(256) : favourites[random(favourites.length)]!
            result = Buffer.concat([result.subarray(0, at), Buffer.from([byte]), result.subarray(to)])
        }
    }
    return result
}

function checkAnswer(kind: CheckKind, bytes: Uint8Array, path: string): void {
    const started = performance.now()
    const answer = checks[kind](bytes, path)
    expect(performance.now() - started).toBeLessThan(1_000)
    if (answer === undefined) return
    const line = Number(/^line (\d+): [\x20-\x7e]+$/.exec(answer)?.[1])
    const lines = Buffer.from(bytes).toString('latin1').split('\n').length
    expect(line >= 1 && line <= lines, `${answer} of ${lines} lines`).toBe(true)
    expect(answer).not.toContain('could not be checked')
}

describe(`with seed ${seed}`, () => {
    test.each(samples.map(sample => [`${sample.kind} of ${sample.path}`, sample] as const))(
        '%s',
        (_, sample) => {
            const random = randomFrom(seed)
            const bytes = bytesOf(sample)
            for (let length = 0; length <= bytes.length; length += 1 + random(9))
                checkAnswer(sample.kind, bytes.subarray(0, length), sample.path)
            for (let i = 0; i < tries; i++) {
                checkAnswer(sample.kind, mutated(bytes, random), sample.path)
                const noise = Buffer.from(Array.from({ length: random(300) }, () => random(256)))
                checkAnswer(sample.kind, noise, sample.path)
            }
        },
    )

    test('a long run of one or two characters takes no longer than its length', () => {
        const runs = [
            'a',
            ' ',
            '\t',
            '"',
            '\\',
            '(',
            '[',
            '=',
            ':',
            ',',
            '!',
            '-',
            '#',
            '\r',
            '0',
            ' a',
            'a ',
            '\\\n',
            'a\n',
            '[]',
            '="',
        ]
        for (const sample of samples)
            for (const run of runs) {
                const text = run.repeat(200_000)
                checkAnswer(sample.kind, Buffer.from(text), sample.path)
                checkAnswer(sample.kind, Buffer.from(`\ta ${text}x\n`), sample.path)
                checkAnswer(
                    sample.kind,
                    Buffer.from(`${sample.text.slice(0, 40)}${text}`, 'latin1'),
                    sample.path,
                )
            }
    }, 60_000)

    test('JSON is what JSON.parse takes, no more and no less', () => {
        const random = randomFrom(seed)
        const words = [
            '{',
            '}',
            '[',
            ']',
            ':',
            ',',
            '"a"',
            '"\\u00e9"',
            '"\\x"',
            '0',
            '-1.5',
            '1e9',
            '01',
            '1.',
            'true',
            'nul',
            'null',
            ' ',
            '\n',
        ]
        const takes = (read: () => unknown) => {
            try {
                read()
                return true
            } catch {
                return false
            }
        }
        let taken = 0
        for (let i = 0; i < tries * 50; i++) {
            const text = Array.from({ length: 1 + random(8) }, () => words[random(words.length)]!).join('')
            const expected = takes(() => JSON.parse(text))
            if (expected) taken++
            expect(
                takes(() => checkJsonText(text)),
                JSON.stringify(text),
            ).toBe(expected)
        }
        expect(taken).toBeGreaterThan(tries)
    })
})
