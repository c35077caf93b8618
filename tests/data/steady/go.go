// A server with objects to look at: `go MEGABYTES` prints its port and answers every GET.
package main

import (
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"strconv"
)

type row struct {
	name string
	text []byte
}

var kept []*row

func main() {
	megabytes, _ := strconv.Atoi(os.Args[1])
	for i := 0; i < megabytes*1000; i++ {
		kept = append(kept, &row{fmt.Sprint("row ", i), make([]byte, 900)})
	}
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		sum := 0
		for _, one := range kept[:200] {
			sum += len(one.name)
		}
		fmt.Fprint(response, sum)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, nil))
}
