// Museum is a gRPC server with reflection and health, made the way Go's own examples are: no gateway in sight.
//
// It prints its address once it serves, and ends with its standard input.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"museum/museumpb"
)

const unlucky = 13

type museum struct {
	museumpb.UnimplementedMuseumServer

	mutex    sync.Mutex
	exhibits map[string]*museumpb.Exhibit
}

func (m *museum) GetExhibit(ctx context.Context, request *museumpb.GetExhibitRequest) (*museumpb.Exhibit, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	exhibit, found := m.exhibits[request.GetName()]
	if !found {
		failure := status.Newf(codes.NotFound, "there is no exhibit %q", request.GetName())
		info := &errdetails.ErrorInfo{Reason: "NO_EXHIBIT", Domain: "museum.example"}
		detailed, err := failure.WithDetails(info, &errdetails.ResourceInfo{ResourceName: request.GetName()})
		if err != nil {
			return nil, err
		}
		return nil, detailed.Err()
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs("etag", "\"1\"", "x-private", "stays inside")); err != nil {
		return nil, err
	}
	return exhibit, nil
}

func (m *museum) AddExhibit(_ context.Context, request *museumpb.AddExhibitRequest) (*museumpb.Exhibit, error) {
	exhibit := request.GetExhibit()
	if exhibit.GetTitle() == "" {
		violation := &errdetails.BadRequest_FieldViolation{Field: "exhibit.title", Description: "must be given"}
		bad := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{violation}}
		detailed, err := status.New(codes.InvalidArgument, "no title").WithDetails(bad)
		if err != nil {
			return nil, err
		}
		return nil, detailed.Err()
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	exhibit.Name = request.GetHall() + "/exhibits/" + request.GetExhibitId()
	m.exhibits[exhibit.GetName()] = exhibit
	return exhibit, nil
}

func (m *museum) WatchVisitors(request *museumpb.WatchVisitorsRequest, stream grpc.ServerStreamingServer[museumpb.Visitor]) error {
	if !strings.HasPrefix(request.GetName(), "halls/") {
		return status.Error(codes.Internal, "the watch has lost its hall")
	}
	for number := int32(1); number <= request.GetCount(); number++ {
		if number == unlucky {
			return status.Error(codes.FailedPrecondition, "the doors are shut")
		}
		visitor := &museumpb.Visitor{Number: number, Stay: durationpb.New(time.Duration(number) * 1500 * time.Millisecond)}
		if err := stream.Send(visitor); err != nil {
			return err
		}
	}
	return nil
}

func (m *museum) CountTickets(stream grpc.ClientStreamingServer[museumpb.Ticket, museumpb.TicketCount]) error {
	count := &museumpb.TicketCount{}
	for {
		ticket, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(count)
		}
		if err != nil {
			return err
		}
		count.Tickets++
		count.Total += int64(ticket.GetPrice())
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	museumpb.RegisterMuseumServer(server, &museum{exhibits: map[string]*museumpb.Exhibit{}})
	healthpb.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	fmt.Println(listener.Addr())
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
