/** What a rebuild needs to install the same packages. Only dpkg may write its database, so nothing of it is put back. */
import type { Category } from '../category.ts'

export const packages: Category = {
    id: 'packages',
    title: 'Packages',
    product: 'common',
    paths: [
        '/var/lib/apt/extended_states',
        '/var/lib/dpkg/status',
        '/var/lib/dpkg/diversions',
        '/var/lib/dpkg/statoverride',
        '/var/lib/dpkg/alternatives/',
        '/etc/alternatives/',
    ],
    commands: [
        { file: 'manual.txt', argv: ['apt-mark', 'showmanual'] },
        { file: 'auto.txt', argv: ['apt-mark', 'showauto'] },
        { file: 'hold.txt', argv: ['apt-mark', 'showhold'] },
        {
            file: 'packages.txt',
            argv: [
                'dpkg-query',
                '--show',
                '--showformat',
                // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own notation
                '${db:Status-Abbrev} ${binary:Package} ${Version}\n',
            ],
        },
        { file: 'selections.txt', argv: ['dpkg', '--get-selections'] },
    ],
    strategy: 'export',
    risk: 'low',
    modes: ['full'],
    about: 'Which packages were installed, at which version, by hand or as a dependency, and what is held.',
}
