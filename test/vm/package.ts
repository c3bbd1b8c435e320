/** Where packaging/build-deb left the package that the container tests install. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './base.ts'

export function packagePath(): string {
    const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
        version: string
    }
    const architecture = Bun.spawnSync(['dpkg', '--print-architecture']).stdout.toString().trim()
    return join(repository, 'dist', `proxsave_${version}_${architecture}.deb`)
}
