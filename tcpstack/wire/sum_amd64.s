#include "textflag.h"

// What turns an unsigned 16-bit word w into the signed w - 32768.
DATA topBits<>+0(SB)/8, $0x8000800080008000
GLOBL topBits<>(SB), RODATA|NOPTR, $8

DATA ones<>+0(SB)/8, $0x0001000100010001
GLOBL ones<>(SB), RODATA|NOPTR, $8

// A vector from byte n on keeps the last n bytes of what it is ANDed with.
DATA lastBytes<>+0(SB)/8, $0
DATA lastBytes<>+8(SB)/8, $0
DATA lastBytes<>+16(SB)/8, $0
DATA lastBytes<>+24(SB)/8, $0
DATA lastBytes<>+32(SB)/8, $-1
DATA lastBytes<>+40(SB)/8, $-1
DATA lastBytes<>+48(SB)/8, $-1
DATA lastBytes<>+56(SB)/8, $-1
GLOBL lastBytes<>(SB), RODATA|NOPTR, $64

// func sumVectors(p *byte, n int) uint64
//
// Multiply-and-add is the quickest way to widen words, but takes them for signed: each is made so by exchanging its top
// bit, which takes 32768 off it, and the 16 * 32768 of each vector (AX) are added again at the end. In place of what does
// not fill a vector comes the vector that ends with it, without the bytes that were summed before.
TEXT ·sumVectors(SB), NOSPLIT, $0-24
	MOVQ         p+0(FP), SI
	MOVQ         n+8(FP), CX
	LEAQ         31(CX), AX
	SHRQ         $5, AX
	SHLQ         $19, AX
	VPBROADCASTQ topBits<>(SB), Y8
	VPBROADCASTQ ones<>(SB), Y9
	VPXOR        Y0, Y0, Y0
	VPXOR        Y1, Y1, Y1
	VPXOR        Y2, Y2, Y2
	VPXOR        Y3, Y3, Y3
	SUBQ         $128, CX
	JB           rest

loop:
	VPXOR    (SI), Y8, Y4
	VPXOR    32(SI), Y8, Y5
	VPXOR    64(SI), Y8, Y6
	VPXOR    96(SI), Y8, Y7
	VPMADDWD Y9, Y4, Y4
	VPMADDWD Y9, Y5, Y5
	VPMADDWD Y9, Y6, Y6
	VPMADDWD Y9, Y7, Y7
	VPADDD   Y4, Y0, Y0
	VPADDD   Y5, Y1, Y1
	VPADDD   Y6, Y2, Y2
	VPADDD   Y7, Y3, Y3
	ADDQ     $128, SI
	SUBQ     $128, CX
	JAE      loop

rest:
	ADDQ $96, CX
	JL   tail

small:
	VPXOR    (SI), Y8, Y4
	VPMADDWD Y9, Y4, Y4
	VPADDD   Y4, Y0, Y0
	ADDQ     $32, SI
	SUBQ     $32, CX
	JGE      small

tail:
	ADDQ     $32, CX
	JZ       done
	LEAQ     lastBytes<>(SB), DX
	VMOVDQU  (DX)(CX*1), Y4
	VPAND    -32(SI)(CX*1), Y4, Y4
	VPXOR    Y4, Y8, Y4
	VPMADDWD Y9, Y4, Y4
	VPADDD   Y4, Y1, Y1

done:
	VPADDD       Y1, Y0, Y0
	VPADDD       Y3, Y2, Y2
	VPADDD       Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPMOVSXDQ    X0, Y0
	VPMOVSXDQ    X1, Y1
	VPADDQ       Y1, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDQ       X1, X0, X0
	VPSRLDQ      $8, X0, X1
	VPADDQ       X1, X0, X0
	VMOVQ        X0, CX
	ADDQ         CX, AX
	MOVQ         AX, ret+16(FP)
	VZEROUPPER
	RET
