/** fstab: what its lines mean, and that they are written back byte for byte. */
import { expect, test } from 'bun:test'
import { entriesOf, parseFstab, writeFstab } from '../../src/format/fstab.ts'

test('fields are told apart and their escapes undone', () => {
    const [root, share, short] = entriesOf(
        parseFstab(
            '# x\n/dev/a / ext4 defaults 0 1\n\t//nas/my\\040share  /mnt/\\134x cifs ro # note\ntmpfs /tmp tmpfs\r\n',
        ),
    )
    expect(root).toMatchObject({ line: 2, source: '/dev/a', target: '/', type: 'ext4', dump: 0, pass: 1 })
    expect(share).toMatchObject({ source: '//nas/my share', target: '/mnt/\\x', options: 'ro', pass: 0 })
    expect(short?.options).toBeUndefined()
})

test.each(['', '\n', ' # x', '/dev/a\t/  ext4 defaults 0 1 # y\n\n', 'a /b c\r\n\t\nd /\xc3\xa0 f'])(
    '%j is written back as it was',
    text => {
        expect(writeFstab(parseFstab(text))).toBe(text)
    },
)

test('a line that mount refuses is a fault with its number', () => {
    expect(() => parseFstab('\n/dev/a /\n')).toThrow('cannot read fstab: line 2: ')
    expect(() => parseFstab('/dev/a / ext4 defaults zero 1\n')).toThrow('"zero" is not a number')
})
