/** Lines of files to be restored that would run a command as root: a person sees them before the restore, not after. */

/** More than this of one plan nobody reads; the rest is a number. */
const mostLines = 200
const lineLength = 160

type Finder = (lines: string[]) => string[]

const matching =
    (pattern: RegExp): Finder =>
    lines =>
        lines.map(line => line.trim()).filter(line => pattern.test(line))

const comment = /^\s*(#|;|$)/

/** A crontab with the user in the sixth field; of a user's own the file's name tells. */
const systemCron: Finder = lines =>
    lines
        .map(line => line.trim())
        .filter(line => !comment.test(line) && /^(@\w+|(\S+\s+){4}\S+)\s+root\s+\S/.test(line))

const ownCron: Finder = lines =>
    lines
        .map(line => line.trim())
        .filter(line => !comment.test(line) && /^(@\w+|(\S+\s+){4}\S+)\s+\S/.test(line))

const asWhole: Finder = () => ['the script itself']

const finders: readonly { path: RegExp; find: Finder }[] = [
    {
        path: /^etc\/network\/interfaces(\.d\/|$)/,
        find: matching(/^(pre-up|up|post-up|pre-down|down|post-down)\s/),
    },
    { path: /^etc\/network\/if-[a-z-]+\.d\//, find: asWhole },
    {
        path: /^etc\/systemd\/(system|user)\/.*\.(service|socket|mount|swap|conf)$/,
        find: matching(/^Exec[A-Za-z]*\s*=\s*\S/),
    },
    { path: /^etc\/crontab$/, find: systemCron },
    { path: /^etc\/cron\.d\//, find: systemCron },
    { path: /^etc\/cron\.(hourly|daily|weekly|monthly|yearly)\//, find: asWhole },
    { path: /^etc\/anacrontab$/, find: matching(/^\d+\s+\d+\s+\S+\s+\S/) },
    { path: /^var\/spool\/cron\/(crontabs\/)?root$/, find: ownCron },
    { path: /^etc\/udev\/rules\.d\//, find: matching(/\b(RUN|PROGRAM|IMPORT\{program\})\s*\+?=/) },
    { path: /^etc\/(rc\.local|init\.d\/)/, find: asWhole },
    { path: /^etc\/modprobe\.d\//, find: matching(/^(install|remove)\s/) },
    {
        path: /^etc\/apt\/apt\.conf(\.d\/|$)/,
        find: matching(/(Pre|Post)-(Invoke|Install-Pkgs)|Pre-Invoke-Success|Post-Invoke-Success/),
    },
    { path: /^etc\/kernel\/(post|pre)(inst|rm)\.d\//, find: asWhole },
    { path: /^etc\/sudoers(\.d\/|$)/, find: matching(/\bNOPASSWD\s*:/) },
    { path: /^etc\/(vzdump\.conf)$/, find: matching(/^script\s*:/) },
    { path: /^etc\/(profile$|profile\.d\/)|^root\/\.(bashrc|profile|bash_profile)$/, find: () => [] },
]

/** Whether a file is worth reading for this. */
export function mayRunCommands(path: string): boolean {
    return finders.some(({ path: pattern }) => pattern.test(path))
}

export class Hazards {
    readonly #lines: string[] = []
    #more = 0

    add(path: string, content: Uint8Array): void {
        const finder = finders.find(({ path: pattern }) => pattern.test(path))
        if (finder === undefined) return
        const lines = new TextDecoder().decode(content).split('\n')
        for (const line of finder.find(lines)) {
            if (this.#lines.length >= mostLines) this.#more++
            else
                this.#lines.push(
                    `/${path}: ${line.length > lineLength ? `${line.slice(0, lineLength)} …` : line}`,
                )
        }
    }

    get lines(): string[] {
        return this.#more === 0 ? this.#lines : [...this.#lines, `and ${this.#more} lines more`]
    }
}
