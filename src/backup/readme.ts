/** README.txt of an archive: how to open it with tar, age and zstd when proxsave is nowhere to be found. */

export interface ReadmeFacts {
    host: string
    hostId: string
    /** RFC 3339, UTC. */
    created: string
    tool: string
    encrypted: boolean
    /** The archive carries `identity.age`. */
    protectedIdentity: boolean
}

export function readme(facts: ReadmeFacts): string {
    const member = facts.encrypted ? 'data.tar.zst.age' : 'data.tar.zst'
    const decrypt = facts.encrypted ? ' | age -d -i IDENTITY' : ''
    const unpack = "tar x -p --same-owner --numeric-owner --acls --xattrs --xattrs-include='*' -C DIR"
    const pipeline = `tar xOf FILE ${member}${decrypt} | zstd -d`
    return `Backup of the configuration of ${facts.host}, made ${facts.created}
by ${facts.tool}, host id ${facts.hostId}.

This file is a plain tar. Nothing but standard tools is needed to open it:
${facts.encrypted ? 'tar, zstd and age (Debian: apt install zstd age).' : 'tar and zstd (Debian: apt install zstd).'}

In the commands below put
  FILE      the name of this file
${facts.encrypted ? '  IDENTITY  the file with your private age identity (AGE-SECRET-KEY-1... or an ssh key)\n' : ''}  DIR       an EMPTY directory; never / : some files would undo what the machine needs to run

EVERYTHING (as root, so that owners come back)

  ${pipeline} | ${unpack}

WHAT IS INSIDE

  ${pipeline} | tar tv

ONE FILE, for example etc/network/interfaces (names have no leading slash)

  ${pipeline} | tar x -p -C DIR etc/network/interfaces
${
    facts.protectedIdentity
        ? `
THE IDENTITY TRAVELS INSIDE, protected by your passphrase

  tar xOf FILE identity.age > identity.age
  ${pipeline.replace('IDENTITY', 'identity.age')} | ${unpack}

age asks for the passphrase. Without it nobody can open this file.
`
        : ''
}
IS IT WHOLE?

  manifest.json says which host, when, what, and the SHA-256 of ${member}:
  tar xOf FILE manifest.json
  tar xOf FILE ${member} | sha256sum
  blocks.sha256 has one SHA-256 for each 4 MiB of it, so that damage has a place.

WHO MADE IT?

  manifest.json is signed with the host's own key (OpenSSH signature, namespace proxsave).
  With the host's public key in a file ALLOWED as a line "host ssh-ed25519 AAAA...":
  tar xOf FILE manifest.json.sig > sig
  tar xOf FILE manifest.json | ssh-keygen -Y verify -f ALLOWED -I host -n proxsave -s sig

Output of commands that ran when the backup was made lies below
var/lib/proxsave/captured. The database of /etc/pve is var/lib/pve-cluster/config.db
(SQLite); the same files also lie below etc/pve.
`
}
