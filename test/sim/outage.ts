/** One restore with its power lost somewhere, perhaps again while it recovers, and what must have come of it. */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inMemory } from '../backup/lab.ts'
import { Describer } from '../restore/describer.ts'
import { anyMood, type Image, leftAfter, type Mood, seenAfter, type Step } from './platter.ts'
import { type Random, seeded } from './random.ts'
import { materialize, Recorder, type RecorderOptions } from './recorder.ts'
import type { Restore } from './restores.ts'
import { checkBegun, checkSettled, type Pictures, storiesIn } from './witness.ts'

/** What a restore did from its begin to the end of its undo, when nothing came between. */
export interface Recorded {
    restore: Restore
    options: RecorderOptions
    pictures: Pictures
    start: Image
    steps: readonly Step[]
}

export interface Counts {
    /** Power losses, those in recoveries among them. */
    losses: number
    /** How often a recovery took the restore back, found it ended, or found nothing of it. */
    old: number
    new: number
    nothing: number
    /** How often the boot before a recovery wrote to what was half restored. */
    boots: number
}

export class Outages {
    readonly counts: Counts = { losses: 0, old: 0, new: 0, nothing: 0, boots: 0 }
    readonly #home: string
    readonly #base: string
    readonly #describer = new Describer()

    constructor() {
        this.#home = fs.mkdtempSync(join(canHold(inMemory()) ? inMemory() : tmpdir(), 'proxsave-outage-'))
        this.#base = join(this.#home, 'disk')
    }

    async end(): Promise<void> {
        await this.#describer.end()
        fs.rmSync(this.#home, { recursive: true, force: true })
    }

    /** Runs the restore once, and its undo; every outage is a place in what was recorded. */
    async record(restore: Restore, options: RecorderOptions): Promise<Recorded> {
        const recorder = this.#lay(restore.before(), options)
        const root = join(this.#base, 'root')
        const old = await this.#describer.describe(root)
        const runner = restore.runner(recorder)
        await runner.recover()
        const end = await runner.wait(runner.start(restore.plan(this.#base), restore.options))
        recorder.tell(`${end.change} ${end.result}`)
        // Anybody may read, and make a file younger by that.
        const pictures: Pictures = { old, new: undefined, known: /": atime was/ }
        // A file with a name outside of the restore: only its own inode could bring that back, and no link leads there.
        if (options.split)
            pictures.known = /": atime was|^"tree\/outside-[ab](\\u0000links)?": (same as|links) was/
        if (end.result !== 'failed') {
            pictures.new = await this.#describer.describe(root)
            await this.#checkModel(recorder)
            const undone = await runner.wait(runner.undo(end.change, 'test'))
            recorder.tell(`${undone.change} ${undone.result}`)
        }
        await this.#checkModel(recorder)
        await checkSettled(this.#base, pictures, [], this.#describer)
        return { restore, options, pictures, start: recorder.start, steps: recorder.steps }
    }

    /** Only what a boot finds, after a loss at this step; throws when that is wrong. */
    look(record: Recorded, at: number, seed: number): void {
        const random = seeded(seed)
        const steps = record.steps.slice(0, at)
        this.#lay(leftAfter(record.start, steps, random, anyMood(random, at)), record.options)
        record.restore.checkBoot?.(join(this.#base, 'root'))
    }

    /** Throws what is wrong behind the recovery. */
    async play(record: Recorded, seed: number): Promise<void> {
        const random = seeded(seed)
        const { restore, options, pictures, start } = record
        const end = record.steps.findIndex(({ step }) => step === 'told')
        // The moments around the end of the restore are few, and it is then that it must stay.
        let at = random.int(record.steps.length + 1)
        if (random.chance(0.15)) at = end - 5 + random.int(15)
        at = Math.min(at, record.steps.length)
        const steps = record.steps.slice(0, at)
        let recorder: Recorder
        // Sometimes the process alone dies first, and the power goes while the next one recovers.
        const killed = random.chance(0.25)
        if (killed) recorder = this.#lay(seenAfter(start, steps), options, { start, steps })
        else recorder = await this.#lose(record, start, steps, random)
        const told = new Set(toldIn(steps))
        let from = recorder.steps.length
        for (let again = random.int(3); ; again--) {
            await this.#recover(restore, recorder)
            const outcome = await checkSettled(this.#base, pictures, told, this.#describer)
            if (again <= 0) {
                this.counts[outcome]++
                if (outcome === 'new' && random.chance(0.5)) await this.#undo(record, recorder)
                return
            }
            const more = recorder.steps.length - from
            const until = from + (random.chance(0.3) ? more : random.int(more + 1))
            const lost = recorder.steps.slice(0, until)
            for (const what of toldIn(lost)) told.add(what)
            recorder = await this.#lose(record, recorder.start, lost, random)
            from = recorder.steps.length
        }
    }

    /** The disk as the power loss leaves it, in the place of what was there. */
    async #lose(record: Recorded, start: Image, steps: readonly Step[], random: Random): Promise<Recorder> {
        this.counts.losses++
        const mood: Mood = anyMood(random, steps.length)
        const recorder = this.#lay(leftAfter(start, steps, random, mood), record.options)
        record.restore.checkBoot?.(join(this.#base, 'root'))
        await checkBegun(this.#base, record.pictures, this.#describer)
        // Behind the end of the restore what a boot writes is there to stay.
        if (
            random.chance(0.5) &&
            !storiesIn(this.#base).some(({ events }) => events.at(-1)!.event === 'end')
        ) {
            const wrote = record.restore.boot?.(join(this.#base, 'root'))
            if (wrote !== undefined) {
                this.counts.boots++
                recorder.adopt(wrote)
            }
        }
        return recorder
    }

    async #recover(restore: Restore, recorder: Recorder): Promise<void> {
        const runner = restore.runner(recorder)
        for (const { change, result } of await runner.recover()) recorder.tell(`${change} ${result}`)
        const unfinished = runner.unfinished()
        if (unfinished.length > 0) throw new Error(`${unfinished[0]!.id} is not finished`)
    }

    /** A restore that ended can be undone whatever the power did since. */
    async #undo({ restore, pictures }: Recorded, recorder: Recorder): Promise<void> {
        const runner = restore.runner(recorder)
        await runner.recover()
        const id = newest(this.#base)
        const end = await runner.wait(runner.undo(id, 'test'))
        if (end.result !== 'ok') throw new Error(`the undo ended with ${end.result}: ${end.error?.message}`)
        await checkSettled(this.#base, pictures, [], this.#describer)
    }

    #lay(image: Image, options: RecorderOptions, known?: { start: Image; steps: readonly Step[] }): Recorder {
        fs.rmSync(this.#base, { recursive: true, force: true })
        const inodes = materialize(image, this.#base)
        return new Recorder(this.#base, { start: image, ...known, inodes }, options)
    }

    /** The model is worth nothing when something changes the directory past it. */
    async #checkModel(recorder: Recorder): Promise<void> {
        const real = await this.#describer.describe(this.#base)
        const copy = join(this.#home, 'copy')
        materialize(seenAfter(recorder.start, recorder.steps), copy)
        const found = (await this.#describer.differences(real, copy)).filter(
            // Reading makes a file younger, and inodes have other numbers in the copy.
            line => !/^"[^"]*": atime |^"state\/.*\/index": /.test(line),
        )
        fs.rmSync(copy, { recursive: true, force: true })
        if (found.length > 0)
            throw new Error(`the model of the disk is wrong: ${found.slice(0, 5).join('; ')}`)
    }
}

const toldIn = (steps: readonly Step[]): string[] =>
    steps.flatMap(step => (step.step === 'told' ? [step.what] : []))

const newest = (base: string): string => fs.readdirSync(join(base, 'state/changes')).sort().at(-1)!

/** Attributes of users are young on file systems in memory. */
function canHold(directory: string): boolean {
    const probe = fs.mkdtempSync(join(directory, 'proxsave-probe-'))
    try {
        return Bun.spawnSync(['setfattr', '-n', 'user.x', '-v', 'y', probe]).success
    } finally {
        fs.rmdirSync(probe)
    }
}
