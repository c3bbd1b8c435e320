/** Whether a checker that preflight runs would see the files as they are to be: only what stands there can be bound over. */
import type { Area } from '../catalog/areas.ts'
import type { AreaHost, Candidate, Finding } from './area.ts'
import { quietly } from './configured.ts'

/** Those of the changing files with this shape that it would not see. */
export function unseen(host: AreaHost, area: Area, candidate: Candidate, shape: RegExp): string[] {
    return candidate.changed.filter(path => {
        if (!shape.test(path)) return false
        const place = area.checked.find(one => path === one || path.startsWith(`${one}/`))
        return place === undefined || !stands(host, place)
    })
}

function stands(host: AreaHost, place: string): boolean {
    return (
        quietly(() => host.read(place)) !== undefined || (quietly(() => host.names(place)) ?? []).length > 0
    )
}

/** What to tell instead of a check that would be about other files. */
export const unchecked = (program: string, paths: readonly string[]): Finding => ({
    name: 'unchecked',
    level: 'warning',
    text: `${program} cannot check ${paths.join(', ')} beforehand`,
})
