import { describe, expect, test } from 'bun:test'
import type { BackupInfo, JobInfo } from '../../src/core/answers.ts'
import { formerId, jobWarnings } from '../../src/daemon/status.ts'

const nowMs = Date.UTC(2026, 10, 20, 12)
const hour = 3_600_000
const ago = (hours: number) => new Date(nowMs - hours * hour).toISOString()
const job = (facts: Partial<JobInfo>): JobInfo => ({
    name: 'daily',
    schedule: '02:30',
    targets: ['local', 'nas'],
    categories: 'all',
    active: true,
    ...facts,
})
const backup = (hours: number) => ({ created: ago(hours) }) as BackupInfo
const texts = (facts: Partial<JobInfo>, last: BackupInfo | null) =>
    jobWarnings(job(facts), last, nowMs).map(({ text }) => text)

describe('status speaks of a job', () => {
    test('whose last run failed, or reached not all of its targets, and names the change', () => {
        const failed = { last: { change: 'c1', result: 'failed', time: ago(2) }, due: ago(2) }
        expect(jobWarnings(job(failed), backup(26), nowMs)).toEqual([
            { text: 'the last run of the job daily, 2 h ago, failed', hint: 'proxsavectl history c1' },
        ])
        const partly = { last: { change: 'c2', result: 'warning', time: ago(2) } }
        expect(texts(partly, backup(2))).toEqual([
            'the last run of the job daily, 2 h ago, ended with warnings',
        ])
    })

    test('that was due and left no backup, as when it was refused at its start', () => {
        const refused = { last: { change: 'c1', result: 'ok', time: ago(24 * 7) }, due: ago(9) }
        expect(texts(refused, backup(24 * 7))).toEqual([
            'the job daily was due 9 h ago, and no backup came of it',
        ])
        expect(texts({ due: ago(9) }, backup(24))).toHaveLength(1)
    })

    test('but not of one that went well, has just begun, or never was due', () => {
        expect(
            texts({ last: { change: 'c1', result: 'ok', time: ago(9) }, due: ago(9.01) }, backup(9)),
        ).toEqual([])
        expect(
            texts({ last: { change: 'c1', result: 'ok', time: ago(24) }, due: ago(0.5) }, backup(24)),
        ).toEqual([])
        expect(texts({}, null)).toEqual([])
        // The first start of a persistent timer leaves a stamp that looks as if it had fired.
        expect(texts({ due: ago(9) }, null)).toEqual([])
        expect(texts({ due: ago(9) }, backup(8))).toEqual([])
    })
})

test('a machine that lost its id is told of the backups of its namesake', () => {
    const of = (host: string, hostId: string, own = false) => ({ host, hostId, own }) as BackupInfo
    expect(formerId([of('other', 'a'), of('pve1', 'b'), of('pve1', 'c')], 'pve1')).toBe('b')
    expect(formerId([of('other', 'a'), of('pve1', 'b', true), of('pve1', '')], 'pve1')).toBeUndefined()
})
