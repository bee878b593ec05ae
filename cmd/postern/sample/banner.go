//go:build ignore

package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"log"
	"math"
)

const (
	width  = 600
	height = 220
)

// banner draws a winter evening: a sky, a moon, hills, firs, snow, and a rail with
// coats in front.
func banner() []byte {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	sky(img)
	moon(img, 498, 52, 26)
	hills(img, 128, 16, 0.013, 0.4, color.RGBA{0x6d, 0x7f, 0xa8, 255})
	hills(img, 150, 12, 0.021, 2.1, color.RGBA{0x8f, 0xa3, 0xc4, 255})
	for i := range 11 {
		x := 20 + i*57 + (i*i*37)%29
		fir(img, float64(x), 172+float64((i*53)%9), 34+float64((i*31)%22))
	}
	hills(img, 176, 6, 0.017, 4.0, color.RGBA{0xee, 0xf3, 0xf8, 255})
	rail(img)
	snow(img)
	return encoded(img)
}

func sky(img *image.RGBA) {
	noise := uint32(20261120)
	for y := range height {
		t := float64(y) / height
		for x := range width {
			noise = noise*1664525 + 1013904223
			grain := 0.0
			if (noise>>16)%100 < 18 { // a little film grain, so that the sky shows no bands
				grain = float64(noise>>29) - 3.5
			}
			img.SetRGBA(x, y, color.RGBA{
				tone(0x2b + 0xb5*math.Pow(t, 1.3) + grain), tone(0x3a + 0x82*t + grain), tone(0x6b + 0x4a*t + grain), 255})
		}
	}
}

func tone(v float64) uint8 { return uint8(max(0, min(255, v))) }

// blend paints a pixel, cover from 0 to 1.
func blend(img *image.RGBA, x, y int, c color.RGBA, cover float64) {
	if cover <= 0 || !(image.Point{x, y}).In(img.Bounds()) {
		return
	}
	cover = min(cover, 1)
	o := img.RGBAAt(x, y)
	mix := func(a, b uint8) uint8 { return tone(float64(a)*(1-cover) + float64(b)*cover) }
	img.SetRGBA(x, y, color.RGBA{mix(o.R, c.R), mix(o.G, c.G), mix(o.B, c.B), 255})
}

func moon(img *image.RGBA, cx, cy, r float64) {
	for y := range height {
		for x := range width {
			d := math.Hypot(float64(x)-cx, float64(y)-cy)
			blend(img, x, y, color.RGBA{0xff, 0xf4, 0xdc, 255}, 0.35*math.Exp(-d*d/(r*r*5)))
			blend(img, x, y, color.RGBA{0xff, 0xf6, 0xe4, 255}, r-d)
		}
	}
}

func hills(img *image.RGBA, base, swing, wave, phase float64, c color.RGBA) {
	for x := range width {
		fx := float64(x)
		top := base + swing*math.Sin(fx*wave+phase) + swing/2*math.Sin(fx*wave*2.3+phase*1.7)
		for y := int(top); y < height; y++ {
			blend(img, x, y, c, float64(y)-top+1)
		}
	}
}

func fir(img *image.RGBA, x, foot, tall float64) {
	green := color.RGBA{0x27, 0x47, 0x4e, 255}
	for tier := range 3 {
		top := foot - tall + float64(tier)*tall*0.25
		bottom := foot - tall*0.1 - float64(2-tier)*tall*0.22
		wide := tall * (0.17 + 0.06*float64(tier))
		for y := int(top); y <= int(bottom); y++ {
			half := wide * (float64(y) - top) / (bottom - top)
			for px := int(x - half - 1); px <= int(x+half+1); px++ {
				blend(img, px, y, green, half-math.Abs(float64(px)-x)+0.5)
			}
		}
	}
}

// rail is a clothes rail with five coats.
func rail(img *image.RGBA) {
	brass := color.RGBA{0xc9, 0xa2, 0x5f, 255}
	box(img, 66, 84, 360, 87, brass)
	box(img, 74, 84, 77, 204, brass)
	box(img, 349, 84, 352, 204, brass)
	box(img, 60, 202, 92, 205, brass)
	box(img, 334, 202, 366, 205, brass)
	colours := []color.RGBA{{0xb8, 0x4a, 0x3e, 255}, {0xe3, 0xc9, 0xa5, 255}, {0x2e, 0x3d, 0x5c, 255}, {0x7b, 0x8f, 0x6a, 255}, {0xd9, 0x8f, 0x7a, 255}}
	for i, c := range colours {
		coat(img, 112+float64(i)*51, 94, 74+float64((i*17)%20), c)
	}
}

func box(img *image.RGBA, x0, y0, x1, y1 int, c color.RGBA) {
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			blend(img, x, y, c, 1)
		}
	}
}

func coat(img *image.RGBA, cx, top, long float64, c color.RGBA) {
	dark := color.RGBA{uint8(float64(c.R) * 0.7), uint8(float64(c.G) * 0.7), uint8(float64(c.B) * 0.7), 255}
	for y := int(top) - 10; y < int(top); y++ { // the hanger's hook
		blend(img, int(cx), y, color.RGBA{0xee, 0xee, 0xee, 255}, 0.9)
	}
	for y := int(top); y < int(top+long); y++ {
		t := (float64(y) - top) / long
		half := 7 + 10*math.Min(1, t*7) + 4*t
		for x := int(cx - half - 1); x <= int(cx+half+1); x++ {
			off := math.Abs(float64(x) - cx)
			blend(img, x, y, c, half-off+0.5)
			if off > half*0.62 && t > 0.14 && off < half*0.62+1.4 {
				blend(img, x, y, dark, 0.9) // sleeves
			}
			if lapel := 6 - 22*t; t < 0.27 && math.Abs(off-lapel) < 1 {
				blend(img, x, y, dark, 0.9)
			}
		}
		if t > 0.27 {
			blend(img, int(cx), y, dark, 0.6)
		}
	}
	for i := range 3 {
		disc(img, cx+3.5, top+long*(0.36+0.14*float64(i)), 1.6, dark)
	}
}

func disc(img *image.RGBA, cx, cy, r float64, c color.RGBA) {
	for y := int(cy - r - 1); y <= int(cy+r+1); y++ {
		for x := int(cx - r - 1); x <= int(cx+r+1); x++ {
			blend(img, x, y, c, r-math.Hypot(float64(x)-cx, float64(y)-cy)+0.5)
		}
	}
}

func snow(img *image.RGBA) {
	seed := uint32(7)
	next := func(n uint32) float64 {
		seed = seed*1664525 + 1013904223
		return float64((seed >> 8) % n)
	}
	for range 170 {
		disc(img, next(width), next(height), 0.6+next(14)/10, color.RGBA{255, 255, 255, 255})
	}
}

func encoded(img image.Image) []byte {
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, img); err != nil {
		log.Fatal(err)
	}
	return b.Bytes()
}
