// emulate runs a program as if the processor had AMX (tiles and bfloat16).
//
//     emulate PROGRAM [ARGUMENTS...]
//
// It traces the program. Where the processor answers a tile instruction with SIGILL, it
// does what the instruction does (Intel's manual, volume 2), and goes on behind it; a
// wrong shape or configuration stays SIGILL. arch_prctl's questions for permission are
// answered, for each process by itself. CPUID and XGETBV say AMX in functions that have
// these words in their names, which asks for a static program with its symbols. The rest
// of what the program asks for (AVX-512 BF16) the processor must have.
//
// EMULATE=deny refuses the permission, EMULATE=verbose counts what was emulated.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cpuid.h>

#define TILE_BITS (3ull << 17)

typedef struct {
	pid_t tid, tgid;
	int seen;            // first SIGSTOP was swallowed
	int configured;
	uint8_t startrow;
	uint8_t rows[8];
	uint16_t colsb[8];
	uint8_t cfg[64];
	_Alignas(64) uint8_t tile[8][16][64];
} thread;

static thread **threads;
static int nthreads;
static struct { pid_t tgid; int granted; } procs[4096];
static int nprocs;
static int deny, verbose;
static uint64_t ninsn, nstop, ntdp;

static void die(const char *what) { fprintf(stderr, "emulate: %s: %s\n", what, strerror(errno)); exit(125); }

static pid_t tgidOf(pid_t tid) {
	char name[64], line[256];
	snprintf(name, sizeof name, "/proc/%d/status", tid);
	FILE *f = fopen(name, "r");
	pid_t r = tid;
	if (!f) return tid;
	while (fgets(line, sizeof line, f)) if (sscanf(line, "Tgid: %d", &r) == 1) break;
	fclose(f);
	return r;
}

static int *granted(pid_t tgid) {
	for (int i = 0; i < nprocs; i++) if (procs[i].tgid == tgid) return &procs[i].granted;
	if (nprocs == 4096) nprocs = 1;
	procs[nprocs].tgid = tgid;
	procs[nprocs].granted = 0;
	return &procs[nprocs++].granted;
}

static thread *lookup(pid_t tid) {
	for (int i = 0; i < nthreads; i++) if (threads[i]->tid == tid) return threads[i];
	threads = realloc(threads, sizeof *threads * (nthreads + 1));
	thread *t = aligned_alloc(64, (sizeof *t + 63) & ~63);
	memset(t, 0, sizeof *t);
	t->tid = tid;
	t->tgid = tgidOf(tid);
	return threads[nthreads++] = t;
}

static void forget(pid_t tid) {
	for (int i = 0; i < nthreads; i++) if (threads[i]->tid == tid) {
		free(threads[i]);
		threads[i] = threads[--nthreads];
		return;
	}
}

static int rd(pid_t pid, void *dst, uint64_t addr, size_t n) {
	struct iovec l = {dst, n}, r = {(void *)addr, n};
	return process_vm_readv(pid, &l, 1, &r, 1, 0) == (ssize_t)n;
}
static int wr(pid_t pid, const void *src, uint64_t addr, size_t n) {
	struct iovec l = {(void *)src, n}, r = {(void *)addr, n};
	return process_vm_writev(pid, &l, 1, &r, 1, 0) == (ssize_t)n;
}

// ---- instructions

enum { DONE, UD, GP, FAULT, OTHER };

static uint64_t *gpr(struct user_regs_struct *r, int n) {
	static const size_t off[16] = {
		offsetof(struct user_regs_struct, rax), offsetof(struct user_regs_struct, rcx), offsetof(struct user_regs_struct, rdx), offsetof(struct user_regs_struct, rbx),
		offsetof(struct user_regs_struct, rsp), offsetof(struct user_regs_struct, rbp), offsetof(struct user_regs_struct, rsi), offsetof(struct user_regs_struct, rdi),
		offsetof(struct user_regs_struct, r8), offsetof(struct user_regs_struct, r9), offsetof(struct user_regs_struct, r10), offsetof(struct user_regs_struct, r11),
		offsetof(struct user_regs_struct, r12), offsetof(struct user_regs_struct, r13), offsetof(struct user_regs_struct, r14), offsetof(struct user_regs_struct, r15)};
	return (uint64_t *)((char *)r + off[n]);
}

static void release(thread *t) {
	t->configured = 0;
	t->startrow = 0;
	memset(t->rows, 0, sizeof t->rows);
	memset(t->colsb, 0, sizeof t->colsb);
	memset(t->tile, 0, sizeof t->tile);
	memset(t->cfg, 0, sizeof t->cfg);
}

static int loadcfg(thread *t, uint64_t addr, uint64_t *fault) {
	uint8_t c[64];
	if (!rd(t->tgid, c, addr, 64)) { *fault = addr; return FAULT; }
	if (c[0] == 0) { release(t); return DONE; }
	if (c[0] > 1) return GP;
	for (int i = 2; i < 16; i++) if (c[i]) return GP;
	for (int i = 32; i < 48; i++) if (c[i]) return GP;
	for (int i = 56; i < 64; i++) if (c[i]) return GP;
	for (int i = 0; i < 8; i++) {
		int cb = c[16 + 2 * i] | c[17 + 2 * i] << 8, rows = c[48 + i];
		if (cb > 64 || rows > 16 || !cb != !rows) return GP;
	}
	release(t);
	memcpy(t->cfg, c, 64);
	t->configured = 1;
	t->startrow = c[1];
	for (int i = 0; i < 8; i++) {
		t->colsb[i] = c[16 + 2 * i] | c[17 + 2 * i] << 8;
		t->rows[i] = c[48 + i];
	}
	return DONE;
}

static int storecfg(thread *t, uint64_t addr, uint64_t *fault) {
	uint8_t c[64];
	memcpy(c, t->cfg, 64);
	if (t->configured) c[1] = t->startrow;
	if (!wr(t->tgid, c, addr, 64)) { *fault = addr; return FAULT; }
	return DONE;
}

static int move(thread *t, int r, uint64_t base, int64_t stride, int store, uint64_t *fault) {
	if (!t->configured || r > 7 || !t->rows[r] || t->startrow >= t->rows[r]) return UD;
	struct iovec l[16], m[16];
	int n = 0, first = t->startrow;
	uint8_t buf[16][64] = {{0}};
	for (int i = first; i < t->rows[r]; i++, n++) {
		l[n].iov_base = store ? t->tile[r][i] : buf[i];
		m[n].iov_base = (void *)(base + (uint64_t)(stride * i));
		l[n].iov_len = m[n].iov_len = t->colsb[r];
	}
	ssize_t want = (ssize_t)n * t->colsb[r];
	ssize_t got = store ? process_vm_writev(t->tgid, l, n, m, n, 0) : process_vm_readv(t->tgid, l, n, m, n, 0);
	if (got != want) {
		*fault = base + (uint64_t)(stride * (first + (got > 0 ? got / t->colsb[r] : 0)));
		return FAULT;
	}
	if (!store) {
		memcpy(buf, t->tile[r], 64 * first);
		memcpy(t->tile[r], buf, 1024);
	}
	t->startrow = 0;
	return DONE;
}

// SDM: even and odd pairs are summed apart with FMA from zero, then added, then added to C.
static int tdpbf16(thread *t, int c, int a, int b) {
	if (!t->configured || c > 7 || a > 7 || b > 7 || c == a || c == b || a == b) return UD;
	if (!t->rows[c] || !t->rows[a] || !t->rows[b]) return UD;
	if (t->rows[c] != t->rows[a] || t->colsb[c] != t->colsb[b] || t->colsb[a] != 4 * t->rows[b]) return UD;
	if (t->colsb[c] % 4 || t->colsb[a] % 4 || t->colsb[b] % 4 || t->startrow) return UD;
	int K = t->colsb[a] / 4;
	__mmask16 keep = (1u << t->colsb[c] / 4) - 1;
	__m512i odd = _mm512_set1_epi32((int)0xffff0000);
	__m512 be[16], bo[16];
	for (int k = 0; k < K; k++) {
		__m512i v = _mm512_load_si512(t->tile[b][k]);
		be[k] = _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
		bo[k] = _mm512_castsi512_ps(_mm512_and_si512(v, odd));
	}
	for (int m = 0; m < t->rows[c]; m++) {
		__m512 e = _mm512_setzero_ps(), o = _mm512_setzero_ps();
		const uint32_t *p = (const uint32_t *)t->tile[a][m];
		for (int k = 0; k < K; k++) {
			e = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32((int)(p[k] << 16))), be[k], e);
			o = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_set1_epi32((int)(p[k] & 0xffff0000))), bo[k], o);
		}
		__m512 s = _mm512_add_ps(_mm512_load_ps(t->tile[c][m]), _mm512_add_ps(e, o));
		_mm512_store_ps(t->tile[c][m], _mm512_maskz_mov_ps(keep, s));
	}
	for (int m = t->rows[c]; m < 16; m++) memset(t->tile[c][m], 0, 64);
	ntdp++;
	return DONE;
}

static void fakecpuid(struct user_regs_struct *r) {
	unsigned leaf = (unsigned)r->rax, sub = (unsigned)r->rcx, a, b, c, d;
	__cpuid_count(leaf, sub, a, b, c, d);
	if (leaf == 0 && a < 0x1e) a = 0x1e;
	if (leaf == 7 && sub == 0) d |= 1u << 22 | 1u << 24;
	if (leaf == 0xd && sub == 0) a |= TILE_BITS, c = c < 11008 ? 11008 : c;
	if (leaf == 0xd && sub == 17) a = 64, b = 2752, c = 2, d = 0;
	if (leaf == 0xd && sub == 18) a = 8192, b = 2816, c = 6, d = 0;
	if (leaf == 0x1d) a = sub == 0, b = c = d = 0;
	if (leaf == 0x1d && sub == 1) a = 8192 | 1024 << 16, b = 64 | 8 << 16, c = 16;
	if (leaf == 0x1e) a = c = d = 0, b = 16 | 64 << 8;
	r->rax = a, r->rbx = b, r->rcx = c, r->rdx = d;
}

// one emulates the instruction at p (n bytes readable), advancing r->rip.
static int one(thread *t, struct user_regs_struct *r, const uint8_t *p, int n, uint64_t *fault) {
	if (n < 5 || p[0] != 0xc4 || (p[1] & 0x1f) != 2 || p[2] & 0x84) return OTHER;
	int R = !(p[1] & 0x80), X = !(p[1] & 0x40), B = !(p[1] & 0x20), v = ~p[2] >> 3 & 15, pp = p[2] & 3, op = p[3];
	if (op != 0x49 && op != 0x4b && op != 0x5c) return OTHER;
	int mod = p[4] >> 6, reg = (p[4] >> 3 & 7) | R << 3, rm = p[4] & 7, len = 5, hassib = 0;
	uint64_t base = 0, index = 0;
	if (mod != 3) {
		int hasbase = 1, b = rm | B << 3;
		if (rm == 4) {
			if (n < 6) return OTHER;
			int s = p[5] >> 6, x = (p[5] >> 3 & 7) | X << 3;
			b = (p[5] & 7) | B << 3;
			len = 6, hassib = 1;
			if (x != 4) index = *gpr(r, x) << s;
			if ((p[5] & 7) == 5 && mod == 0) hasbase = 0;
		}
		int32_t d = 0;
		if (mod == 1) { if (n < len + 1) return OTHER; d = (int8_t)p[len]; len += 1; }
		if (mod == 2 || (mod == 0 && (rm == 5 || !hasbase))) { if (n < len + 4) return OTHER; memcpy(&d, p + len, 4); len += 4; }
		if (mod == 0 && rm == 5) base = r->rip + len;
		else if (hasbase) base = *gpr(r, b);
		base += (int64_t)d;
	}
	int perm = *granted(t->tgid), e = OTHER;
	if (op == 0x49) {
		if (v) return UD;
		if (mod != 3) {
			if (reg & 7) return OTHER;
			if (pp == 0) e = loadcfg(t, base + index, fault);
			else if (pp == 1) e = storecfg(t, base + index, fault);
		} else if (pp == 0 && p[4] == 0xc0) release(t), e = DONE;
		else if (pp == 3 && rm == 0) {
			if (!perm || !t->configured || reg > 7 || !t->rows[reg]) return UD;
			memset(t->tile[reg], 0, 1024);
			t->startrow = 0;
			e = DONE;
		}
	} else if (op == 0x4b) {
		if (mod == 3 || !hassib || v || !perm || pp == 0) return UD;
		e = move(t, reg, base, (int64_t)index, pp == 2, fault);
	} else if (op == 0x5c && pp == 2 && mod == 3) {
		if (!perm) return UD;
		e = tdpbf16(t, reg, rm | B << 3, v);
	}
	if (e == DONE) r->rip += len;
	return e;
}

// illegal handles a SIGILL stop; it returns the signal to deliver.
static int illegal(thread *t) {
	struct user_regs_struct r;
	if (ptrace(PTRACE_GETREGS, t->tid, 0, &r)) return SIGILL;
	uint64_t start = r.rip, fault = 0;
	uint8_t code[256 + 16];
	int have = 0, e = OTHER;
	for (have = 256; have >= 16 && !rd(t->tgid, code, start, have); have /= 2);
	if (have < 16) for (have = 15; have > 0 && !rd(t->tgid, code, start, have); have--);
	nstop++;
	for (;;) {
		int off = (int)(r.rip - start);
		e = off < 0 || off >= have ? OTHER : one(t, &r, code + off, have - off, &fault);
		if (e != DONE) break;
		ninsn++;
	}
	if (r.rip != start) {
		ptrace(PTRACE_SETREGS, t->tid, 0, &r);
		return 0; // what follows runs for itself, and traps again if it must
	}
	if (e == UD || e == OTHER) {
		fprintf(stderr, "emulate: thread %d: SIGILL stays at %#llx: %02x %02x %02x %02x %02x%s\n", t->tid, (unsigned long long)r.rip,
			code[0], code[1], code[2], code[3], code[4], e == UD ? *granted(t->tgid) ? " (AMX: no or wrong tile configuration)" : " (AMX: no permission)" : "");
		return SIGILL;
	}
	siginfo_t si = {0};
	si.si_signo = SIGSEGV;
	si.si_code = e == GP ? SI_KERNEL : SEGV_MAPERR;
	si.si_addr = (void *)fault;
	fprintf(stderr, "emulate: thread %d: %s at %#llx, address %#llx\n", t->tid, e == GP ? "bad tile configuration (#GP)" : "fault", (unsigned long long)r.rip, (unsigned long long)fault);
	ptrace(PTRACE_SETSIGINFO, t->tid, 0, &si);
	return SIGSEGV;
}

// permission answers arch_prctl's questions about AMX.
static void permission(thread *t) {
	struct user_regs_struct r;
	if (ptrace(PTRACE_GETREGS, t->tid, 0, &r) || r.orig_rax != SYS_arch_prctl) return;
	int64_t ret = 0;
	int *g = granted(t->tgid);
	uint64_t bits = 0x2e7 | TILE_BITS;
	switch (r.rdi) {
	case 0x1023: // ARCH_REQ_XCOMP_PERM
		if (deny) ret = -EPERM;
		else if (r.rsi > 18) ret = -EINVAL;
		else if (r.rsi == 18) *g = 1;
		break;
	case 0x1022: // ARCH_GET_XCOMP_PERM
		if (!*g) bits &= ~(1ull << 18);
		// fall through
	case 0x1021: // ARCH_GET_XCOMP_SUPP
		if (!wr(t->tgid, &bits, r.rsi, 8)) ret = -EFAULT;
		break;
	default: return;
	}
	r.orig_rax = -1;
	r.rax = (uint64_t)ret;
	ptrace(PTRACE_SETREGS, t->tid, 0, &r);
}

// patch makes CPUID and XGETBV trap in functions named after them (static, not PIE).

typedef struct { uint64_t addr; int kind; } site;
static site sites[256];
static int nsites;

static int hasfold(const char *s, const char *w) { return strcasestr(s, w) != NULL; }

static void patch(thread *t) {
	char name[64];
	snprintf(name, sizeof name, "/proc/%d/exe", t->tgid);
	int fd = open(name, O_RDONLY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st)) return;
	uint8_t *f = mmap(0, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (f == MAP_FAILED) return;
	Elf64_Ehdr *h = (void *)f;
	if (memcmp(h->e_ident, ELFMAG, 4) || h->e_ident[4] != ELFCLASS64 || h->e_type != ET_EXEC) goto out;
	Elf64_Shdr *sh = (void *)(f + h->e_shoff);
	for (int i = 0; i < h->e_shnum; i++) {
		if (sh[i].sh_type != SHT_SYMTAB) continue;
		Elf64_Sym *s = (void *)(f + sh[i].sh_offset);
		const char *str = (char *)f + sh[sh[i].sh_link].sh_offset;
		for (size_t k = 0; k < sh[i].sh_size / sizeof *s; k++) {
			if (ELF64_ST_TYPE(s[k].st_info) != STT_FUNC || !s[k].st_shndx || s[k].st_shndx >= h->e_shnum) continue;
			const char *n = str + s[k].st_name;
			if (!hasfold(n, "cpuid") && !hasfold(n, "xgetbv")) continue;
			Elf64_Shdr *x = &sh[s[k].st_shndx];
			uint64_t size = s[k].st_size ? s[k].st_size : 64;
			uint8_t *p = f + x->sh_offset + (s[k].st_value - x->sh_addr);
			for (uint64_t o = 0; o + 2 <= size && nsites < 256; o++) {
				int kind = p[o] == 0x0f && p[o + 1] == 0xa2 ? 1 : o + 3 <= size && p[o] == 0x0f && p[o + 1] == 0x01 && p[o + 2] == 0xd0 ? 2 : 0;
				if (!kind) continue;
				static const uint8_t ud2[2] = {0x0f, 0x0b};
				long w = ptrace(PTRACE_PEEKTEXT, t->tid, s[k].st_value + o, 0);
				memcpy(&w, ud2, 2);
				if (ptrace(PTRACE_POKETEXT, t->tid, s[k].st_value + o, w)) continue;
				int known = 0;
				for (int j = 0; j < nsites; j++) known |= sites[j].addr == s[k].st_value + o && sites[j].kind == kind;
				if (!known) {
					sites[nsites].addr = s[k].st_value + o;
					sites[nsites++].kind = kind;
				}
				if (verbose) fprintf(stderr, "emulate: %s traps in %s\n", kind == 1 ? "CPUID" : "XGETBV", n);
			}
		}
	}
out:
	munmap(f, st.st_size);
}

// patched answers a trapped CPUID or XGETBV.
static int patched(thread *t) {
	if (!nsites) return 0;
	struct user_regs_struct r;
	if (ptrace(PTRACE_GETREGS, t->tid, 0, &r)) return 0;
	for (int i = 0; i < nsites; i++) {
		if (sites[i].addr != r.rip) continue;
		if (sites[i].kind == 1) {
			fakecpuid(&r);
			r.rip += 2;
		} else {
			uint32_t a, d;
			__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"((uint32_t)r.rcx));
			if ((uint32_t)r.rcx == 0) a |= TILE_BITS;
			r.rax = a, r.rdx = d;
			r.rip += 3;
		}
		ptrace(PTRACE_SETREGS, t->tid, 0, &r);
		return 1;
	}
	return 0;
}

static void child(char **argv) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x1021, 0, 1),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 0x1023, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
	};
	struct sock_fprog prog = {sizeof code / sizeof *code, code};
	if (ptrace(PTRACE_TRACEME, 0, 0, 0)) die("ptrace");
	raise(SIGSTOP);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("no_new_privs");
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0)) die("seccomp");
	execvp(argv[0], argv);
	die(argv[0]);
}

int main(int argc, char **argv) {
	if (argc < 2) { fprintf(stderr, "usage: emulate PROGRAM [ARGUMENTS...]\n"); return 125; }
	char *opt = getenv("EMULATE");
	if (opt) deny = hasfold(opt, "deny"), verbose = hasfold(opt, "verbose");
	pid_t first = fork();
	if (first == 0) child(argv + 1);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	_mm_setcsr(0x1f80 | 0x8040); // FTZ, DAZ, nearest even, exceptions masked
	int status, code = 0;
	if (waitpid(first, &status, 0) < 0) die("wait");
	long o = PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP;
	if (ptrace(PTRACE_SETOPTIONS, first, 0, o)) die("PTRACE_SETOPTIONS");
	lookup(first)->seen = 1;
	ptrace(PTRACE_CONT, first, 0, 0);
	for (;;) {
		pid_t tid = waitpid(-1, &status, __WALL);
		if (tid < 0) { if (errno == EINTR) continue; break; }
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (tid == first) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			if (tid == first && WIFSIGNALED(status)) fprintf(stderr, "emulate: ended by signal %d\n", WTERMSIG(status));
			forget(tid);
			continue;
		}
		if (!WIFSTOPPED(status)) continue;
		thread *t = lookup(tid);
		int sig = WSTOPSIG(status), event = status >> 16;
		if (event) {
			sig = 0;
			if (event == PTRACE_EVENT_SECCOMP) permission(t);
			else if (event == PTRACE_EVENT_EXEC) {
				release(t);
				t->tgid = tid;
				t->seen = 1;
				*granted(tid) = 0;
				patch(t);
			} else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
				unsigned long new;
				if (!ptrace(PTRACE_GETEVENTMSG, tid, 0, &new)) {
					pid_t g = tgidOf(new);
					if (g != t->tgid) *granted(g) = *granted(t->tgid);
				}
			}
		} else if (!t->seen && sig == SIGSTOP) {
			t->seen = 1;
			sig = 0;
		} else if (sig == SIGILL) {
			sig = patched(t) ? 0 : illegal(t);
		}
		ptrace(PTRACE_CONT, tid, 0, sig);
	}
	if (verbose) fprintf(stderr, "emulate: %llu tile instructions (%llu products) in %llu stops\n", (unsigned long long)ninsn, (unsigned long long)ntdp, (unsigned long long)nstop);
	return code;
}
