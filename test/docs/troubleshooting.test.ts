/** Whoever reads a message or a hint finds it in docs/troubleshooting.md, and the page has nothing that is never said. */
import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { messagesIn, readMessages, sourceText } from './messages.ts'

const page = readFileSync(join(resolve(import.meta.dir, '../..'), 'docs/troubleshooting.md'), 'utf8')

/** What the first columns of the tables have, ` · ` between; `…` stands for what differs. */
const phrases = [...page.matchAll(/^\| (?!---|message )(.*?) \|/gm)].flatMap(([, cell]) =>
    cell!.split(' · ').map(plain),
)
function plain(text: string): string {
    return text
        .replaceAll(/[`"]/g, '')
        .replaceAll(/\s+/g, ' ')
        .replaceAll(/^[… ]+|[… ]+$/g, '')
}
const pieces = (phrase: string) =>
    phrase
        .split('…')
        .map(piece => piece.trim())
        .filter(piece => piece !== '')

/** A phrase is there when its pieces are, in their order, and as whole words. */
function says(text: string, phrase: string): boolean {
    const wanted = pieces(phrase).map(piece => piece.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    return new RegExp(`(?<![\\w-])${wanted.join('.*')}(?![\\w-])`, 's').test(text)
}

describe('the program says', () => {
    test('what this test finds: messages up to their reason, hints with holes', () => {
        const code = `throw new Fault('failed', \`cannot open \${path}: \${why}\`, {
            hint: near ? \`look at \${x === 'a b' ? 'c d' : e}, then go on\` : 'choose "another" one',
            facts: { a: 'not this one' },
        })
        const hint = code === 'x y'
        const hints: Record<string, string> = { A: 'make some room' }
        // hint: 'nor this one'`
        expect(messagesIn(code)).toEqual({
            beginnings: ['cannot open'],
            hints: ['look at …, then go on', 'choose "another" one', 'x y', 'make some room'],
        })
    })

    const { beginnings, hints } = readMessages()

    test('nothing that begins otherwise than the page tells', () => {
        const known = phrases.filter(phrase => phrase.startsWith('cannot '))
        const missing = beginnings
            .map(({ text, file }) => ({ text: plain(text).replace(/[ /-]+$/, ''), file }))
            .filter(({ text }) => text !== 'cannot')
            .filter(({ text }) => !known.some(begin => text === begin || text.startsWith(`${begin} `)))
        expect(missing).toEqual([])
        expect(beginnings.length).toBeGreaterThan(100)
    })

    test('no hint that the page does not have', () => {
        // A phrase of one short word would answer for anything; a hint of one, as in "it has a, b", needs no answer.
        const long = (phrase: string) => pieces(phrase).join(' ').length >= 10 && phrase.includes(' ')
        const entries = phrases.filter(long)
        const missing = hints
            .map(({ text, file }) => ({ text: plain(text), file }))
            .filter(({ text }) => long(text) && !entries.some(entry => says(text, entry)))
        expect(missing).toEqual([])
        expect(hints.length).toBeGreaterThan(150)
    })
})

test('the page has nothing that the program never says', () => {
    const source = plain(sourceText().replaceAll('\\', ''))
    const stale = phrases.flatMap(pieces).filter(piece => piece.length > 3 && !source.includes(piece))
    expect(stale).toEqual([])
})
