/** Login and name services */
import type { Category } from '../category.ts'

export const login: Category = {
    id: 'login',
    title: 'Login and name services',
    product: 'common',
    paths: [
        '/etc/pam.d/',
        '/etc/pam.conf',
        '/etc/security/',
        '/etc/nsswitch.conf',
        '/etc/login.defs',
        '/etc/securetty',
        '/etc/shells',
        '/etc/sssd/',
        '/etc/ldap/',
        '/etc/nslcd.conf',
        '/etc/krb5.conf',
        '/etc/krb5.conf.d/',
        '/etc/krb5.keytab',
        '/etc/adduser.conf',
        '/etc/deluser.conf',
        '/etc/polkit-1/',
    ],
    strategy: 'guarded',
    area: 'access',
    risk: 'lock-out',
    modes: ['full'],
    about: 'PAM, limits, name service switch and directory logins.',
}
