/**
 * The demonstration: a sample host is saved, damaged and looked into, by the real daemon and the real command. Nothing
 * outside of a temporary directory is touched, and every status that a command ends with is checked.
 */
import {
    closeSync,
    mkdirSync,
    mkdtempSync,
    openSync,
    readdirSync,
    readFileSync,
    readSync,
    rmSync,
    symlinkSync,
    writeFileSync,
    writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { makeDemoHost } from './demo-host.ts'

const binary = resolve(import.meta.dir, '../build/proxsave')
const colour = process.stdout.isTTY && !process.env.NO_COLOR
const bold = (text: string) => (colour ? `\x1b[1m${text}\x1b[0m` : text)
const dim = (text: string) => (colour ? `\x1b[2m${text}\x1b[0m` : text)

/** The daemon listens well within this, also on a slow machine. */
const startMs = 30_000
const commandMs = 120_000

const dir = mkdtempSync(join(tmpdir(), 'proxsave-demo-'))
const host = join(dir, 'host')
const socket = join(dir, 'proxsave.sock')
const names = new Map([
    [join(dir, 'bin'), ''],
    [host, 'HOST'],
    [dir, 'DEMO'],
])

// The links that the package installs: the name decides which program the binary is.
mkdirSync(join(dir, 'bin'))
for (const name of ['proxsavectl', 'proxsaved']) symlinkSync(binary, join(dir, 'bin', name))
const env = {
    PATH: `${join(dir, 'bin')}:${process.env.PATH ?? ''}`,
    HOME: dir,
    LANG: 'C.UTF-8',
    PROXSAVE_SOCKET: socket,
}

let daemon: Bun.Subprocess | undefined
try {
    await demonstrate()
    say('That was it. On a real host:', [
        'apt install ./dist/proxsave_*.deb',
        'proxsavectl setup',
        'proxsavectl backup',
    ])
} finally {
    daemon?.kill('SIGTERM')
    await daemon?.exited
    rmSync(dir, { recursive: true, force: true })
}

async function demonstrate(): Promise<void> {
    title('A host')
    mkdirSync(host)
    makeDemoHost(host)
    say(`A small Proxmox VE host as plain files, in ${host}.`, [
        'HOST stands for that directory below, DEMO for the one around it.',
    ])

    title('The daemon serves it as if it were /')
    daemon = Bun.spawn(['proxsaved', '--root', host, '--state', join(dir, 'state'), '--socket', socket], {
        env,
        stdin: 'ignore',
        stdout: Bun.file(join(dir, 'daemon.log')),
        stderr: Bun.file(join(dir, 'daemon.log')),
    })
    console.log(dim('$ proxsaved --root HOST --state DEMO/state --socket DEMO/proxsave.sock &'))
    await listening()
    await run(['proxsavectl', 'setup', '--defaults'])

    title('A backup, and what is in it')
    await run(['proxsavectl', 'backup', '--note', 'before the experiment'])
    await run(['proxsavectl', 'list'])
    await run(['proxsavectl', 'show', 'latest'])
    await run(['proxsavectl', 'verify', '--deep', 'latest'])

    title('Somebody damages the host')
    const interfaces = 'etc/network/interfaces'
    const guest = 'etc/pve/nodes/attic/qemu-server/100.conf'
    const original = readFileSync(join(host, interfaces), 'utf8')
    await run(['sed', '-i', 's/192.0.2.10\\/24/192.0.2.110\\/24/; /gateway/d', join(host, interfaces)])
    await run(['rm', join(host, guest)])
    await run(['proxsavectl', 'diff', 'latest', 'live'])

    title('Single files come out again')
    const out = join(dir, 'out')
    await run(['proxsavectl', 'extract', 'latest', interfaces, guest, '--output', out])
    await run(['cat', join(out, guest)])
    if (readFileSync(join(out, interfaces), 'utf8') !== original)
        throw new Error('the extracted file is not the saved one')
    console.log(bold('etc/network/interfaces came out as it was saved, byte for byte.'))

    title('A damaged backup is noticed, and where')
    const backups = join(host, 'var/backups/proxsave')
    const archive = join(backups, readdirSync(backups).find(name => name.endsWith('.proxsave.tar'))!)
    const damaged = join(dir, 'damaged.proxsave.tar')
    writeFileSync(damaged, readFileSync(archive))
    flipBit(damaged, middleOfData(damaged))
    say('One bit of a copy is flipped. A command ends with status 5 when a backup cannot be trusted.')
    await run(['proxsavectl', 'verify', damaged], 5)

    title('And all of it opens without proxsave')
    const missing = ['age', 'zstd', 'tar'].filter(tool => Bun.which(tool) === null)
    if (missing.length > 0) {
        say(`Left out: ${missing.join(', ')} not installed. The archive explains itself:`)
        await run(['tar', 'xOf', archive, 'README.txt'])
        return
    }
    const data = 'data.tar.zst.age'
    const all = join(dir, 'all')
    mkdirSync(all)
    const command = `tar xOf ${archive} ${data} | age -d -i ${join(host, 'etc/proxsave/identity.txt')} | zstd -d | tar x -C ${all}`
    await run(['bash', '-o', 'pipefail', '-c', command], 0, command)
    await run(['ls', join(all, 'etc')])
}

/** Runs a command, shows it and what it printed; any other status than the expected one ends the demonstration. */
async function run(argv: string[], expected = 0, shown = argv.map(quote).join(' ')): Promise<void> {
    console.log(`\n${bold(`$ ${shorten(shown)}`)}`)
    const child = Bun.spawn(argv, {
        env,
        cwd: dir,
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
        timeout: commandMs,
    })
    const [stdout, stderr, status] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
        child.exited,
    ])
    process.stdout.write(shorten(stdout + stderr))
    if (status !== 0) console.log(dim(`(status ${status})`))
    if (status !== expected) {
        console.error(readFileSync(join(dir, 'daemon.log'), 'utf8').slice(-4000))
        throw new Error(`${shown} ended with ${status} and not with ${expected}`)
    }
}

async function listening(): Promise<void> {
    const deadline = performance.now() + startMs
    for (;;) {
        const asked = Bun.spawnSync(['proxsavectl', 'status', '--json'], {
            env,
            stdin: 'ignore',
            timeout: startMs,
        })
        if (asked.exitCode !== 3) return
        if (daemon?.exitCode != null || performance.now() > deadline)
            throw new Error(`the daemon does not answer:\n${readFileSync(join(dir, 'daemon.log'), 'utf8')}`)
        await Bun.sleep(50)
    }
}

/** Offset of the middle of the encrypted data, whose header the tar format puts 512 bytes before it. */
function middleOfData(path: string): number {
    const bytes = readFileSync(path)
    const begin = bytes.indexOf('age-encryption.org/v1')
    const size = Number.parseInt(bytes.toString('latin1', begin - 512 + 124, begin - 512 + 135), 8)
    return begin + Math.floor(size / 2)
}

function flipBit(path: string, at: number): void {
    const file = openSync(path, 'r+')
    const byte = Buffer.alloc(1)
    readSync(file, byte, 0, 1, at)
    byte[0]! ^= 1
    writeSync(file, byte, 0, 1, at)
    closeSync(file)
}

/** Temporary directories have long names that nobody reads. */
function shorten(text: string): string {
    for (const [path, name] of names) text = text.replaceAll(path, name)
    return text
}

function quote(word: string): string {
    return /^[\w./=:@-]+$/.test(word) ? word : `'${word}'`
}

function title(text: string): void {
    console.log(`\n\n${bold(text)}\n${bold('='.repeat(text.length))}`)
}

function say(text: string, more: string[] = []): void {
    console.log(`\n${text}`)
    for (const line of more) console.log(`  ${line}`)
}
