//go:build ignore

// This program draws the pictures of templates/winter. The same source gives the
// same octets. Run it here:
//
//	go run winter.go banner.go
package main

import (
	"image"
	"image/color"
	"log"
	"math"
	"os"
	"path/filepath"
)

func main() {
	for name, img := range map[string]image.Image{"logo.png": logo(), "banner.png": evening(), "coat.png": sketch()} {
		if err := os.WriteFile(filepath.Join("../../../templates/winter/images", name), encoded(img), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

var (
	night = color.RGBA{0x2e, 0x3d, 0x5c, 255}
	cream = color.RGBA{0xf6, 0xef, 0xe4, 255}
	rust  = color.RGBA{0xb8, 0x4a, 0x3e, 255}
)

// evening is the banner's evening without the rail: a sky of few colours, a moon,
// hills, firs and snow.
func evening() image.Image {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		t := float64(y) / height
		c := color.RGBA{tone(0x2b + 0xb5*math.Pow(t, 1.3)), tone(0x3a + 0x82*t), tone(0x6b + 0x4a*t), 255}
		box(img, 0, y, width, y+1, c)
	}
	moon(img, 452, 58, 24)
	hills(img, 128, 16, 0.013, 0.4, color.RGBA{0x6d, 0x7f, 0xa8, 255})
	hills(img, 150, 12, 0.021, 2.1, color.RGBA{0x8f, 0xa3, 0xc4, 255})
	for i := range 13 {
		fir(img, float64(12+i*48+(i*i*37)%29), 176+float64((i*53)%9), 34+float64((i*31)%26))
	}
	hills(img, 180, 6, 0.017, 4.0, color.RGBA{0xee, 0xf3, 0xf8, 255})
	snow(img)
	return img
}

// logo is a coat in a disc, at twice the size at which it is shown.
func logo() image.Image {
	img := image.NewRGBA(image.Rect(0, 0, 96, 96))
	box(img, 0, 0, 96, 96, color.RGBA{255, 255, 255, 255})
	disc(img, 47.5, 47.5, 46, night)
	garment(img, 47.5, 24, 52, 1, cream)
	return img
}

// sketch is a coat on its hanger.
func sketch() image.Image {
	img := image.NewRGBA(image.Rect(0, 0, 240, 260))
	box(img, 0, 0, 240, 260, cream)
	disc(img, 120, 236, 3, cream)
	garment(img, 120, 44, 184, 3.4, rust)
	return img
}

// garment is a coat that is k times as wide as those on the rail.
func garment(img *image.RGBA, cx, top, long, k float64, c color.RGBA) {
	dark := color.RGBA{uint8(float64(c.R) * 0.68), uint8(float64(c.G) * 0.68), uint8(float64(c.B) * 0.68), 255}
	for y := int(top - 9*k); y < int(top); y++ { // the hanger's hook
		for x := int(cx - k); x <= int(cx+k); x++ {
			blend(img, x, y, dark, 0.35*k-math.Abs(float64(x)-cx)+0.5)
		}
	}
	for y := int(top); y < int(top+long); y++ {
		t := (float64(y) - top) / long
		half := k * (7 + 10*math.Min(1, t*7) + 4*t)
		for x := int(cx - half - 1); x <= int(cx+half+1); x++ {
			off := math.Abs(float64(x) - cx)
			blend(img, x, y, c, half-off+0.5)
			if edge := off - half*0.62; t > 0.14 {
				blend(img, x, y, dark, math.Min(edge, 1.2*k-edge)) // sleeves
			}
			if lapel := k * (6 - 22*t); t < 0.27 {
				blend(img, x, y, dark, 0.6*k-math.Abs(off-lapel))
			}
			if t > 0.27 {
				blend(img, x, y, dark, (0.3*k-off+0.5)*0.8)
			}
		}
	}
	for i := range 3 {
		disc(img, cx+3.5*k, top+long*(0.36+0.14*float64(i)), 1.6*k, dark)
	}
}
