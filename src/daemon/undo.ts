/** What an undo would do: the steps back, and what of the change cannot be taken back. */
import type { Plan } from '../engine/change.ts'
import type { Daemon } from './daemon.ts'

export interface UndoAnswer {
    summary: string
    /** In the order in which they are taken back. */
    steps: string[]
    cannot: string[]
}

export function planUndo(daemon: Daemon, reference: string, by: string): { plan: Plan; answer: UndoAnswer } {
    const { runner, store } = daemon.parts
    const id = store.find(reference)
    const plan = runner.planUndo(id, by)
    const ledger = store.replay(id)
    const undone = new Set(plan.tasks.map(task => task.id))
    const cannot = (ledger?.plan.tasks ?? [])
        .filter(task => !undone.has(task.id) && ledger?.stateOf(task.id) === 'done')
        .map(({ title }) => `${title}: cannot be taken back`)
    const declared = ledger?.plan.facts?.irreversible
    if (Array.isArray(declared)) cannot.push(...declared.map(String))
    return {
        plan,
        answer: { summary: plan.summary, steps: plan.tasks.map(({ title }) => title).reverse(), cannot },
    }
}
