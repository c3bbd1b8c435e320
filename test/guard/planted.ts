/** Guard directories as arming, applying and rolling back leave them, in a state directory of a test. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AreaId } from '../../src/catalog/areas.ts'
import { GuardDirectory, type GuardRecord, guardId } from '../../src/guard/record.ts'
import type { Clock } from '../../src/host/clock.ts'
import { realDisk } from '../../src/host/disk.ts'

export class GuardLab {
    readonly disk = realDisk()
    readonly state = mkdtempSync(join(tmpdir(), 'proxsave-guard-'))
    nowMs = Date.UTC(2026, 10, 20, 12)
    bootMs = 1_000_000
    bootId = 'boot-1'
    readonly clock: Clock = {
        nowMs: () => this.nowMs,
        bootMs: () => this.bootMs,
        bootId: () => this.bootId,
        timeZone: () => 'UTC',
    }

    end(): void {
        rmSync(this.state, { recursive: true, force: true })
    }

    /** A guard with its record and its program; not armed. */
    make(change: string, area: AreaId, more: Partial<GuardRecord> = {}): GuardDirectory {
        const guard = new GuardDirectory(this.disk, this.state, guardId(change, area))
        guard.write('guard.json', {
            version: 1,
            id: guard.id,
            change,
            area,
            created: new Date(this.nowMs).toISOString(),
            place: 'host',
            actions: [],
            sweeps: [],
            ways: [],
            addresses: { before: ['192.0.2.10'], after: ['192.0.2.20'] },
            diagnostics: join(this.state, 'diagnostics'),
            timeoutMs: 180_000,
            ...more,
        } satisfies GuardRecord)
        writeFileSync(guard.file('proxsave'), 'the program')
        return guard
    }

    armed(change: string, area: AreaId, more: Partial<GuardRecord> = {}): GuardDirectory {
        const guard = this.make(change, area, more)
        guard.write('armed', { boot: this.bootId, deadlineMs: this.bootMs + 180_000 })
        return guard
    }

    applied(change: string, area: AreaId, more: Partial<GuardRecord> = {}): GuardDirectory {
        const guard = this.armed(change, area, more)
        guard.write('applied', { boot: this.bootId, ms: this.bootMs })
        return guard
    }

    executed(change: string, area: AreaId, problems: string[] = []): GuardDirectory {
        const guard = this.make(change, area)
        guard.write('executed', { time: new Date(this.nowMs).toISOString(), why: 'deadline', problems })
        return guard
    }
}
